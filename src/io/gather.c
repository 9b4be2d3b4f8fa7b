/* Rows from the blocks of a field to their places: first those whose blocks are held, so that none of these gives way
 * to another before it has served; then block by block. */
#include <string.h>

#include "io/cache.h"
#include "io/dataset.h"
#include "io/fetch.h"
#include "io/h5.h"
#include "io/storage.h"

/* Places of groups whose blocks have none. */
enum { NOT_BEGUN = -1, FINISHED = -2 };

/* Rows of a field that are wanted. */
struct wanted {
  struct msift_dataset *d;
  struct msift_h5_field *field;
  int64_t n;
  const int64_t *ids;
  unsigned char *to;
  int64_t n_groups, n_begun;
  bool by_row; /* some were read without a block */
  struct msift_memory *memory;
  struct msift_error *error;
};

static int64_t min64(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* How many ids from i on follow one another in a block. */
static int64_t run_length(const struct wanted *w, int64_t i)
{
  int64_t rows = w->field->cache.rows, most = min64(rows - w->ids[i] % rows, w->n - i), length = 1;

  while (length < most && w->ids[i + length] == w->ids[i] + length)
    length++;
  return length;
}

static mpisift_status refuse(struct wanted *w, int64_t first, int64_t n, const struct msift_fault *fault)
{
  return msift_error_set(w->error, MPISIFT_ERR_IO, "%s: field %s: rows %lld to %lld cannot be read: %s%s%s", w->d->path,
                         w->field->name, (long long)first, (long long)(first + n - 1), fault->what,
                         fault->code != 0 ? ": " : "", fault->code != 0 ? strerror(fault->code) : "");
}

static int state_of(const struct msift_cached *p)
{
  return atomic_load_explicit(&p->state, memory_order_acquire);
}

/* Copy `run` rows from i on out of a block that is held, or read them where it is only noted. */
static mpisift_status take(struct wanted *w, int32_t place, int64_t i, int64_t run)
{
  struct msift_cache *c = &w->field->cache;
  struct msift_cached *p = &c->cached[place];
  size_t bytes = w->field->bytes;
  unsigned char *to = w->to + (size_t)i * bytes;
  struct msift_fault fault;

  p->used += run;
  if (state_of(p) == MSIFT_READY) {
    memcpy(to, p->rows + (size_t)(w->ids[i] % c->rows) * bytes, (size_t)run * bytes);
    return MPISIFT_OK;
  }
  w->by_row = true;
  return msift_fetch(w->field, w->ids[i], run, to, &w->d->scratch, &fault) ? MPISIFT_OK
                                                                           : refuse(w, w->ids[i], run, &fault);
}

static void append(struct wanted *w, int64_t g, int64_t i)
{
  struct msift_group *group = &w->d->groups[g];

  w->d->next[group->last] = i;
  group->last = i;
}

/* Rows from i on of a block that the cache has a place for. */
static mpisift_status take_or_wait(struct wanted *w, int32_t place, int64_t i, int64_t run)
{
  struct msift_cached *p = &w->field->cache.cached[place];
  int state = state_of(p);

  msift_cache_touch(&w->field->cache, place);
  if (state == MSIFT_READY || state == MSIFT_NOTED)
    return take(w, place, i, run);
  if (p->group >= 0) {
    append(w, p->group, i);
  } else {
    p->group = w->n_groups;
    p->pinned = true;
    w->d->groups[w->n_groups++] = (struct msift_group){p->block, i, i, place};
  }
  return MPISIFT_OK;
}

/* Take what is held; make groups of the rest. */
static void take_held(struct wanted *w)
{
  struct msift_cache *c = &w->field->cache;

  for (int64_t i = 0, run; i < w->n && w->error->status == MPISIFT_OK; i += run) {
    int64_t block = w->ids[i] / c->rows, place = c->place[block];

    run = run_length(w, i);
    w->d->next[i] = -1;
    if (place >= 0) {
      take_or_wait(w, (int32_t)place, i, run);
    } else if (place == -1) {
      c->place[block] = (int32_t)(-2 - w->n_groups);
      w->d->groups[w->n_groups++] = (struct msift_group){block, i, i, NOT_BEGUN};
    } else {
      append(w, -2 - place, i);
    }
  }
}

/* Name what a place is to hold. */
static void assign(struct msift_dataset *d, struct msift_h5_field *field, struct msift_cached *p)
{
  p->field = field;
  p->first = p->block * field->cache.rows;
  p->n = min64(field->cache.rows, d->n - p->first);
}

/* Have the readers get a block that is not held, or note it where rows are to be read one by one. What HDF5 has to read
 * stays vacant. False: there is no place, or an error. */
static bool begin_block(struct wanted *w, struct msift_group *group)
{
  struct msift_cache *c = &w->field->cache;
  int32_t place = msift_cache_claim(c, group->block, &w->d->readers);
  struct msift_cached *p = &c->cached[place];

  if (place < 0)
    return false;
  assign(w->d, w->field, p);
  if (c->by_row && w->field->route.filters.n == 0 && msift_fetch_located(w->field, p->first, p->n)) {
    atomic_store(&p->state, MSIFT_NOTED);
  } else if (msift_cache_room(c, place, w->memory, w->error) != MPISIFT_OK) {
    msift_cache_drop(c, place);
    return false;
  } else if (w->d->readers.n > 0 && msift_fetch_located(w->field, p->first, p->n)) {
    msift_readers_queue(&w->d->readers, p);
  }
  p->pinned = true;
  group->place = place;
  return true;
}

/* What this thread has to do itself. */
static void load(struct wanted *w, struct msift_cached *p, char *cause)
{
  struct msift_h5_quiet quiet;

  if (msift_fetch_located(w->field, p->first, p->n)) {
    msift_fetch_block(p, &w->d->scratch);
  } else {
    msift_h5_quiet_begin(&quiet);
    p->fault = (struct msift_fault){0};
    if (!msift_fetch_by_hdf5(w->field, p->first, p->n, p->rows, cause))
      p->fault.what = cause;
    else if (msift_storage_bytes(w->d->file) < w->d->bytes)
      p->fault.what = "the file has become shorter";
    else if (w->field->route.descriptor >= 0)
      msift_fetch_unchanged(w->field, &p->fault);
    msift_h5_quiet_end(&quiet);
  }
  atomic_store(&p->state, p->fault.what == NULL ? MSIFT_READY : MSIFT_FAILED);
}

static void finish_group(struct wanted *w, struct msift_group *group)
{
  struct msift_cache *c = &w->field->cache;
  struct msift_cached *p = &c->cached[group->place];
  char cause[MSIFT_TEXT];

  if (state_of(p) == MSIFT_VACANT)
    load(w, p, cause);
  else
    msift_readers_wait(&w->d->readers, p, &w->d->scratch);
  p->pinned = false;
  p->group = -1;
  if (state_of(p) == MSIFT_FAILED) {
    refuse(w, p->first, p->n, &p->fault);
    msift_cache_drop(c, group->place);
    return;
  }
  for (int64_t i = group->first; i >= 0 && w->error->status == MPISIFT_OK; i = w->d->next[i])
    take(w, group->place, i, run_length(w, i));
  group->place = FINISHED;
}

/* Readers may still be busy with blocks that nobody wants any more: wait for one. */
static void wait_for_place(struct wanted *w)
{
  struct msift_cache *c = &w->field->cache;
  int32_t i = c->oldest;

  if (w->error->status != MPISIFT_OK)
    return;
  while (c->cached[i].pinned)
    i = c->cached[i].newer;
  msift_readers_wait(&w->d->readers, &c->cached[i], &w->d->scratch);
}

/* If there are readers, blocks are begun as far ahead as there are places for. */
static void begin_more(struct wanted *w)
{
  struct msift_group *groups = w->d->groups;

  while (w->d->readers.n > 0 && w->n_begun < w->n_groups &&
         (groups[w->n_begun].place != NOT_BEGUN || begin_block(w, &groups[w->n_begun])))
    w->n_begun++;
}

/* First the blocks that were being read already: they hold places. Then no group that is waiting has a place which one
 * before it needs. */
static void take_groups(struct wanted *w)
{
  struct msift_group *groups = w->d->groups;

  for (int sweep = 0; sweep < 2; sweep++)
    for (int64_t g = 0; g < w->n_groups && w->error->status == MPISIFT_OK; g++) {
      begin_more(w);
      while (sweep == 1 && w->error->status == MPISIFT_OK && groups[g].place == NOT_BEGUN &&
             !begin_block(w, &groups[g]))
        wait_for_place(w);
      if (groups[g].place >= 0 && w->error->status == MPISIFT_OK)
        finish_group(w, &groups[g]);
    }
}

/* What an error has left undone. */
static void forget_groups(struct wanted *w)
{
  struct msift_cache *c = &w->field->cache;

  for (int64_t g = 0; g < w->n_groups; g++) {
    const struct msift_group *group = &w->d->groups[g];
    int32_t place = c->place[group->block];

    if (place < -1)
      c->place[group->block] = -1;
    else if (place >= 0 && c->cached[place].pinned) {
      c->cached[place].pinned = false;
      c->cached[place].group = -1;
      if (state_of(&c->cached[place]) == MSIFT_VACANT)
        msift_cache_drop(c, place);
    }
  }
}

static mpisift_status read_field(struct wanted *w)
{
  struct msift_fault fault;

  take_held(w);
  take_groups(w);
  if (w->error->status != MPISIFT_OK)
    forget_groups(w);
  else if (w->by_row && !msift_fetch_unchanged(w->field, &fault))
    refuse(w, w->ids[0], 1, &fault);
  return w->error->status;
}

static mpisift_status reserve(struct msift_dataset *d, int64_t n, struct msift_memory *memory,
                              struct msift_error *error)
{
  if (n <= d->capacity)
    return MPISIFT_OK;
  MSIFT_TRY(msift_resize(memory, error, &d->next, n, sizeof *d->next));
  MSIFT_TRY(msift_resize(memory, error, &d->groups, n, sizeof *d->groups));
  d->capacity = n;
  return MPISIFT_OK;
}

mpisift_status msift_dataset_read(struct msift_dataset *d, int64_t n, const int64_t *ids, void *const *dst,
                                  struct msift_memory *memory, struct msift_error *error)
{
  MSIFT_TRY(reserve(d, n, memory, error));
  for (int f = 0; f < d->n_fields; f++) {
    struct wanted w = {
        .d = d, .field = &d->fields[f], .n = n, .ids = ids, .to = dst[f], .memory = memory, .error = error};

    MSIFT_TRY(read_field(&w));
  }
  return MPISIFT_OK;
}

/* Blocks that are held do not give way to others that are wanted at the same time. Returns whether one was begun. */
static bool begin_ahead(struct msift_dataset *d, struct msift_h5_field *field, int64_t block,
                        struct msift_memory *memory, struct msift_error *error)
{
  struct msift_cache *c = &field->cache;
  int64_t first = block * c->rows;
  int32_t place;

  if (!msift_fetch_located(field, first, min64(c->rows, d->n - first)))
    return false;
  place = msift_cache_claim(c, block, &d->readers);
  if (place < 0)
    return false;
  assign(d, field, &c->cached[place]);
  if (msift_cache_room(c, place, memory, error) != MPISIFT_OK) {
    msift_cache_drop(c, place);
    return false;
  }
  c->cached[place].pinned = true;
  msift_readers_queue(&d->readers, &c->cached[place]);
  return true;
}

static void prefetch_field(struct msift_dataset *d, struct msift_h5_field *field, int64_t n, const int64_t *ids,
                           struct msift_memory *memory)
{
  struct msift_cache *c = &field->cache;
  struct msift_error error = {0};
  int64_t begun = 0;

  for (int64_t i = 0; i < n && begun < d->prefetch && error.status == MPISIFT_OK; i++) {
    int64_t block = ids[i] / c->rows;
    int32_t place = c->place[block];

    if (place < 0) {
      begun += begin_ahead(d, field, block, memory, &error);
    } else if (!c->cached[place].pinned) {
      msift_cache_touch(c, place);
      c->cached[place].pinned = true;
    }
  }
  for (int32_t i = c->newest; i >= 0 && c->cached[i].pinned; i = c->cached[i].older)
    c->cached[i].pinned = false;
}

void msift_dataset_prefetch(struct msift_dataset *d, int64_t n, const int64_t *ids, struct msift_memory *memory)
{
  for (int f = 0; f < d->n_fields && d->readers.n > 0; f++)
    if (d->fields[f].route.why == NULL && (!d->fields[f].cache.by_row || d->fields[f].route.filters.n > 0))
      prefetch_field(d, &d->fields[f], n, ids, memory);
}
