/* Rows from the blocks of a field to their places: first those whose blocks are held, so that none of these gives way
 * to another before it has served; then block by block. */
#include <string.h>

#include "io/cache.h"
#include "io/dataset.h"
#include "io/fetch.h"
#include "io/h5.h"

/* Rows of a field that are wanted. */
struct wanted {
  struct msift_dataset *d;
  struct msift_h5_field *field;
  int64_t n;
  const int64_t *ids;
  unsigned char *to;
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

static int64_t rows_of(const struct wanted *w, int64_t block)
{
  return min64(w->field->cache.rows, w->d->n - block * w->field->cache.rows);
}

static void load_by_hdf5(struct wanted *w, struct msift_cached *p, int64_t first, int64_t n, char *cause)
{
  struct msift_h5_quiet quiet;
  bool right;

  msift_h5_quiet_begin(&quiet);
  right = msift_fetch_by_hdf5(w->field, first, n, p->rows);
  p->fault = (struct msift_fault){right ? NULL : msift_h5_cause(cause), 0};
  msift_h5_quiet_end(&quiet);
  atomic_store(&p->state, right ? MSIFT_READY : MSIFT_FAILED);
}

static void load(struct wanted *w, struct msift_cached *p, char *cause)
{
  int64_t first = p->block * w->field->cache.rows, n = rows_of(w, p->block);
  bool right;

  if (!msift_fetch_located(w->field, first, n)) {
    load_by_hdf5(w, p, first, n, cause);
    return;
  }
  right = msift_fetch(w->field, first, n, p->rows, &w->d->scratch, &p->fault);
  right = msift_fetch_unchanged(w->field, &p->fault) && right;
  atomic_store(&p->state, right ? MSIFT_READY : MSIFT_FAILED);
}

/* Copy `run` rows from i on out of a block that is held, or read them where it is only noted. */
static mpisift_status take(struct wanted *w, int32_t place, int64_t i, int64_t run)
{
  struct msift_cache *c = &w->field->cache;
  struct msift_cached *p = &c->cached[place];
  size_t bytes = w->field->bytes;
  unsigned char *to = w->to + (size_t)i * bytes;
  struct msift_fault fault;

  msift_cache_touch(c, place);
  p->used += run;
  if (atomic_load_explicit(&p->state, memory_order_acquire) == MSIFT_READY) {
    memcpy(to, p->rows + (size_t)(w->ids[i] % c->rows) * bytes, (size_t)run * bytes);
    return MPISIFT_OK;
  }
  w->by_row = true;
  return msift_fetch(w->field, w->ids[i], run, to, &w->d->scratch, &fault) ? MPISIFT_OK
                                                                           : refuse(w, w->ids[i], run, &fault);
}

/* Take what is held; make groups of the rest, and return their number. An error ends it. */
static int64_t take_held(struct wanted *w)
{
  struct msift_cache *c = &w->field->cache;
  struct msift_group *groups = w->d->groups;
  int64_t n_groups = 0;

  for (int64_t i = 0, run; i < w->n; i += run) {
    int64_t block = w->ids[i] / c->rows, place = c->place[block];

    run = run_length(w, i);
    w->d->next[i] = -1;
    if (place >= 0) {
      if (take(w, (int32_t)place, i, run) != MPISIFT_OK)
        return n_groups;
    } else if (place == -1) {
      c->place[block] = (int32_t)(-2 - n_groups);
      groups[n_groups++] = (struct msift_group){block, i, i};
    } else {
      struct msift_group *group = &groups[-2 - place];

      w->d->next[group->last] = i;
      group->last = i;
    }
  }
  return n_groups;
}

/* A block that is not held, or a note of it where its rows are to be read one by one. */
static mpisift_status begin_block(struct wanted *w, int64_t block, int32_t *place)
{
  struct msift_cache *c = &w->field->cache;
  struct msift_cached *p;
  char cause[MSIFT_TEXT];
  int64_t first = block * c->rows, n = rows_of(w, block);

  *place = msift_cache_claim(c, block);
  p = &c->cached[*place];
  if (c->by_row && w->field->route.filters.n == 0 && msift_fetch_located(w->field, first, n)) {
    atomic_store(&p->state, MSIFT_NOTED);
    return MPISIFT_OK;
  }
  if (msift_cache_room(c, *place, w->memory, w->error) == MPISIFT_OK) {
    load(w, p, cause);
    if (atomic_load(&p->state) == MSIFT_FAILED)
      refuse(w, first, n, &p->fault);
  }
  if (w->error->status != MPISIFT_OK)
    msift_cache_drop(c, *place);
  return w->error->status;
}

static mpisift_status take_group(struct wanted *w, const struct msift_group *group)
{
  int32_t place;

  MSIFT_TRY(begin_block(w, group->block, &place));
  for (int64_t i = group->first; i >= 0; i = w->d->next[i])
    MSIFT_TRY(take(w, place, i, run_length(w, i)));
  return MPISIFT_OK;
}

static mpisift_status read_field(struct wanted *w)
{
  struct msift_cache *c = &w->field->cache;
  int64_t n_groups = take_held(w);
  struct msift_fault fault;

  for (int64_t g = 0; g < n_groups; g++) {
    if (w->error->status == MPISIFT_OK)
      take_group(w, &w->d->groups[g]);
    if (c->place[w->d->groups[g].block] < -1)
      c->place[w->d->groups[g].block] = -1;
  }
  if (w->error->status == MPISIFT_OK && w->by_row && !msift_fetch_unchanged(w->field, &fault))
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
