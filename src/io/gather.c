/* Rows from the blocks of a field to their places: first those whose blocks are held, so that none of these gives way
 * to another before it has served; then block by block. */
#include <string.h>

#include "io/fetch.h"
#include "io/files.h"
#include "io/h5.h"
#include "io/storage.h"

/* Places of groups whose blocks have none. */
enum { NOT_BEGUN = -1, FINISHED = -2 };

/* Rows of a field that are wanted. */
struct wanted {
  struct msift_files *fs;
  int f; /* the field, */
  struct msift_cache *cache;
  size_t bytes; /* of its rows */
  int64_t n;
  const int64_t *ids;
  unsigned char *to;
  int64_t n_groups, n_begun;
  bool by_row; /* some were read without a block */
  bool ahead;  /* readers take part */
  struct msift_memory *memory;
  struct msift_error *error;
};

/* Where a row is: in a file, and in a block. */
struct spot {
  struct msift_file *file;
  int64_t block, row, skip;
};

static int64_t min64(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static struct spot find(const struct msift_files *fs, int f, int64_t id)
{
  struct msift_file *file = msift_file_of(fs, id);
  const struct msift_span *blocks = &file->blocks[f];
  int64_t row = id - file->first, k = row / blocks->rows;

  return (struct spot){file, blocks->first + k, row, row - k * blocks->rows};
}

/* Rows of the block in which a row is: the last one of a file may be short. */
static int64_t block_rows(int f, const struct spot *at)
{
  const struct msift_file *file = at->file;

  return min64(file->blocks[f].rows, file[1].first - file->first - (at->row - at->skip));
}

static struct spot find_wanted(const struct wanted *w, int64_t i)
{
  return find(w->fs, w->f, w->ids[i]);
}

/* How many ids from i on follow one another in a block. */
static int64_t run_length(const struct wanted *w, int64_t i, const struct spot *at)
{
  int64_t most = min64(block_rows(w->f, at) - at->skip, w->n - i), length = 1;

  while (length < most && w->ids[i + length] == w->ids[i] + length)
    length++;
  return length;
}

static mpisift_status refuse(struct wanted *w, const struct msift_file *file, int64_t first, int64_t n,
                             const struct msift_fault *fault)
{
  return msift_error_set(w->error, MPISIFT_ERR_IO, "%.255s: field %s: rows %lld to %lld cannot be read: %s%s%s",
                         file->path, w->fs->names[w->f], (long long)first, (long long)(first + n - 1), fault->what,
                         fault->code != 0 ? ": " : "", fault->code != 0 ? strerror(fault->code) : "");
}

static int state_of(const struct msift_cached *p)
{
  return atomic_load_explicit(&p->state, memory_order_acquire);
}

/* Copy `run` rows from i on out of a block that is held, or read them where it is only noted. */
static mpisift_status take(struct wanted *w, int32_t place, int64_t i, int64_t run, const struct spot *at)
{
  struct msift_cached *p = &w->cache->cached[place];
  unsigned char *to = w->to + (size_t)i * w->bytes;
  struct msift_fault fault;

  msift_cache_use(w->cache, p, run);
  if (state_of(p) == MSIFT_READY) {
    memcpy(to, p->rows + (size_t)at->skip * w->bytes, (size_t)run * w->bytes);
    return MPISIFT_OK;
  }
  MSIFT_TRY(msift_file_use(w->fs, at->file, w->memory, w->error));
  w->by_row = at->file->by_row = true;
  return msift_fetch(&at->file->open->fields[w->f], at->row, run, to, &w->fs->scratch, &fault)
             ? MPISIFT_OK
             : refuse(w, at->file, at->row, run, &fault);
}

static void append(struct wanted *w, int64_t g, int64_t i)
{
  struct msift_group *group = &w->fs->groups[g];

  w->fs->next[group->last] = i;
  group->last = i;
}

/* Rows from i on of a block that the cache has a place for. */
static mpisift_status take_or_wait(struct wanted *w, int32_t place, int64_t i, int64_t run, const struct spot *at)
{
  struct msift_cached *p = &w->cache->cached[place];
  int state = state_of(p);

  msift_cache_touch(w->cache, place);
  if (state == MSIFT_READY || state == MSIFT_NOTED)
    return take(w, place, i, run, at);
  if (p->group >= 0) {
    append(w, p->group, i);
  } else {
    p->group = w->n_groups;
    p->pinned = true;
    w->fs->groups[w->n_groups++] = (struct msift_group){p->block, i, i, place};
  }
  return MPISIFT_OK;
}

/* Take what is held; make groups of the rest. */
static void take_held(struct wanted *w)
{
  struct msift_cache *c = w->cache;

  for (int64_t i = 0, run; i < w->n && w->error->status == MPISIFT_OK; i += run) {
    struct spot at = find_wanted(w, i);
    int32_t place = c->place[at.block];

    run = run_length(w, i, &at);
    w->fs->next[i] = -1;
    if (place >= 0) {
      take_or_wait(w, place, i, run, &at);
    } else if (place == -1) {
      c->place[at.block] = (int32_t)(-2 - w->n_groups);
      w->fs->groups[w->n_groups++] = (struct msift_group){at.block, i, i, NOT_BEGUN};
    } else {
      append(w, -2 - (int64_t)place, i);
    }
  }
}

/* Name what a place is to hold: the block in which a row is, whose file is open. */
static void assign(struct msift_cached *p, int f, const struct spot *at)
{
  p->file = at->file;
  p->field = &at->file->open->fields[f];
  p->first = at->row - at->skip;
  p->n = block_rows(f, at);
}

/* Have the readers get a block that is not held, or note it where rows are to be read one by one. What HDF5 has to read
 * stays vacant. False: there is no place, or an error. */
static bool begin_block(struct wanted *w, struct msift_group *group)
{
  struct msift_cache *c = w->cache;
  struct spot at = find_wanted(w, group->first);
  struct msift_cached *p;
  int32_t place;

  if (msift_file_use(w->fs, at.file, w->memory, w->error) != MPISIFT_OK)
    return false;
  place = msift_cache_claim(c, group->block, &w->fs->readers);
  if (place < 0)
    return false;
  p = &c->cached[place];
  assign(p, w->f, &at);
  if (c->by_row && p->field->route.filters.n == 0 && msift_fetch_located(p->field, p->first, p->n)) {
    atomic_store(&p->state, MSIFT_NOTED);
  } else if (msift_cache_room(c, place, w->memory, w->error) != MPISIFT_OK) {
    msift_cache_drop(c, place);
    return false;
  } else if (w->ahead && msift_fetch_located(p->field, p->first, p->n)) {
    msift_readers_queue(&w->fs->readers, p);
  }
  p->pinned = true;
  group->place = place;
  return true;
}

static void load_by_hdf5(struct msift_cached *p, char *cause)
{
  const struct msift_dataset *d = p->file->open;
  struct msift_h5_quiet quiet;

  msift_h5_quiet_begin(&quiet);
  p->fault = (struct msift_fault){0};
  if (!msift_fetch_by_hdf5(p->field, p->first, p->n, p->rows, cause))
    p->fault.what = cause;
  else if (msift_storage_bytes(d->file) < d->bytes)
    p->fault.what = "the file has become shorter";
  else if (p->field->route.descriptor >= 0)
    msift_fetch_unchanged(p->field, &p->fault);
  msift_h5_quiet_end(&quiet);
}

/* What this thread has to do itself. The file may have been closed since the block was begun. */
static void load(struct wanted *w, struct msift_cached *p, char *cause)
{
  if (msift_file_use(w->fs, p->file, w->memory, w->error) != MPISIFT_OK)
    return;
  p->field = &p->file->open->fields[w->f];
  if (msift_fetch_located(p->field, p->first, p->n))
    msift_fetch_block(p, &w->fs->scratch);
  else
    load_by_hdf5(p, cause);
  atomic_store(&p->state, p->fault.what == NULL ? MSIFT_READY : MSIFT_FAILED);
}

static void take_group(struct wanted *w, const struct msift_group *group)
{
  for (int64_t i = group->first; i >= 0 && w->error->status == MPISIFT_OK; i = w->fs->next[i]) {
    struct spot at = find_wanted(w, i);

    take(w, group->place, i, run_length(w, i, &at), &at);
  }
}

static void finish_group(struct wanted *w, struct msift_group *group)
{
  struct msift_cached *p = &w->cache->cached[group->place];
  char cause[MSIFT_TEXT];

  msift_readers_wait(&w->fs->readers, p, &w->fs->scratch);
  if (state_of(p) == MSIFT_VACANT)
    load(w, p, cause);
  if (w->error->status != MPISIFT_OK)
    return;
  p->pinned = false;
  p->group = -1;
  if (state_of(p) == MSIFT_FAILED) {
    refuse(w, p->file, p->first, p->n, &p->fault);
    msift_cache_drop(w->cache, group->place);
    return;
  }
  take_group(w, group);
  group->place = FINISHED;
}

/* Readers may still be busy with blocks that nobody wants any more: wait for one. */
static void wait_for_place(struct wanted *w)
{
  struct msift_cache *c = w->cache;
  int32_t i = c->oldest;

  if (w->error->status != MPISIFT_OK)
    return;
  while (c->cached[i].pinned)
    i = c->cached[i].newer;
  msift_readers_wait(&w->fs->readers, &c->cached[i], &w->fs->scratch);
}

/* What is read ahead closes no file. */
static bool at_hand(const struct msift_files *fs, const struct msift_file *file)
{
  return file->open != NULL || fs->n_open < fs->max_open;
}

static bool begin_ahead(struct wanted *w, struct msift_group *group)
{
  return at_hand(w->fs, msift_file_of(w->fs, w->ids[group->first])) && begin_block(w, group);
}

/* If readers take part, blocks are begun as far ahead as there are places for. */
static void begin_more(struct wanted *w)
{
  struct msift_group *groups = w->fs->groups;

  while (w->ahead && w->n_begun < w->n_groups &&
         (groups[w->n_begun].place != NOT_BEGUN || begin_ahead(w, &groups[w->n_begun])))
    w->n_begun++;
}

/* First the blocks that were being read already: they hold places. Then no group that is waiting has a place which one
 * before it needs. */
static void take_groups(struct wanted *w)
{
  struct msift_group *groups = w->fs->groups;

  w->ahead = w->fs->readers.n > 0 && msift_cache_is_slow(w->cache);
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
  struct msift_cache *c = w->cache;

  for (int64_t g = 0; g < w->n_groups; g++) {
    const struct msift_group *group = &w->fs->groups[g];
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

/* Of files of which rows were read one by one. */
static void check_unchanged(struct wanted *w)
{
  struct msift_fault fault;

  for (int i = 0; i < w->fs->n_files; i++) {
    struct msift_file *file = &w->fs->files[i];

    if (file->by_row && w->error->status == MPISIFT_OK && !msift_fetch_unchanged(&file->open->fields[w->f], &fault))
      refuse(w, file, 0, file[1].first - file->first, &fault);
    file->by_row = false;
  }
}

static mpisift_status read_field(struct wanted *w)
{
  take_held(w);
  w->cache->reads++;
  take_groups(w);
  if (w->error->status != MPISIFT_OK)
    forget_groups(w);
  if (w->by_row)
    check_unchanged(w);
  return w->error->status;
}

static mpisift_status reserve(struct msift_files *fs, int64_t n, struct msift_memory *memory, struct msift_error *error)
{
  if (n <= fs->capacity)
    return MPISIFT_OK;
  MSIFT_TRY(msift_resize(memory, error, &fs->next, n, sizeof *fs->next));
  MSIFT_TRY(msift_resize(memory, error, &fs->groups, n, sizeof *fs->groups));
  fs->capacity = n;
  return MPISIFT_OK;
}

static struct wanted want(struct msift_files *fs, int f, struct msift_memory *memory, struct msift_error *error)
{
  return (struct wanted){.fs = fs,
                         .f = f,
                         .cache = &fs->caches[f],
                         .bytes = mpisift_field_bytes(&fs->fields[f]),
                         .memory = memory,
                         .error = error};
}

mpisift_status msift_files_read(struct msift_files *fs, int64_t n, const int64_t *ids, void *const *dst,
                                struct msift_memory *memory, struct msift_error *error)
{
  MSIFT_TRY(reserve(fs, n, memory, error));
  for (int f = 0; f < fs->n_fields; f++) {
    struct wanted w = want(fs, f, memory, error);

    w.n = n;
    w.ids = ids;
    w.to = dst[f];
    MSIFT_TRY(read_field(&w));
  }
  return MPISIFT_OK;
}

/* Whether the readers can get the block in which a row is, whose file is then open. */
static bool can_prefetch(struct wanted *w, const struct spot *at)
{
  const struct msift_h5_field *field;

  if (!at_hand(w->fs, at->file) || msift_file_use(w->fs, at->file, w->memory, w->error) != MPISIFT_OK)
    return false;
  field = &at->file->open->fields[w->f];
  return (!w->cache->by_row || field->route.filters.n > 0) &&
         msift_fetch_located(field, at->row - at->skip, block_rows(w->f, at));
}

/* Returns whether a block was begun. */
static bool prefetch_block(struct wanted *w, const struct spot *at)
{
  struct msift_cache *c = w->cache;
  int32_t place = can_prefetch(w, at) ? msift_cache_claim_ahead(c, at->block, &w->fs->readers) : -1;

  if (place < 0)
    return false;
  assign(&c->cached[place], w->f, at);
  if (msift_cache_room(c, place, w->memory, w->error) != MPISIFT_OK) {
    msift_cache_drop(c, place);
    return false;
  }
  msift_cache_announce(c, place);
  msift_readers_queue(&w->fs->readers, &c->cached[place]);
  return true;
}

/* What is held of these stays until it has served: it gives way neither to others of them nor to what is announced
 * later. */
static void keep_held(struct wanted *w)
{
  struct msift_cache *c = w->cache;

  for (int64_t i = 0; i < w->n; i++) {
    int32_t place = c->place[find_wanted(w, i).block];

    if (place >= 0)
      msift_cache_announce(c, place);
  }
}

static void prefetch_field(struct wanted *w)
{
  struct msift_cache *c = w->cache;
  int64_t begun = 0;

  keep_held(w);
  for (int64_t i = 0; i < w->n && begun < w->fs->reading.prefetch && w->error->status == MPISIFT_OK; i++) {
    struct spot at = find_wanted(w, i);

    if (c->place[at.block] < 0)
      begun += prefetch_block(w, &at);
  }
}

void msift_files_prefetch(struct msift_files *fs, int64_t n, const int64_t *ids, struct msift_memory *memory)
{
  for (int f = 0; f < fs->n_fields && fs->readers.n > 0; f++) {
    struct msift_error error = {0};
    struct wanted w = want(fs, f, memory, &error);

    w.n = n;
    w.ids = ids;
    if ((!w.cache->by_row || w.cache->whole) && msift_cache_is_slow(w.cache))
      prefetch_field(&w);
  }
}
