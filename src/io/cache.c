#include "io/cache.h"

#include <string.h>

/* Blocks that give way before it is judged whether whole ones are worth reading. */
enum { JUDGED = 64 };

/* Seconds that it costs to hand a block to another thread, which sleeps, and to fetch its rows from that thread's core.
 * What lies in the page cache is read in less, unless blocks are large or compressed. */
static const double handing = 5e-5;

/* Memory that a block takes. */
static size_t slot_bytes(const struct msift_cache *c)
{
  return c->bytes + MSIFT_LINE;
}

/* Of the fields whose blocks do not all fit: as many blocks of each, since rows that are wanted together are in as many
 * blocks of one field as of another, large or small. Fields that fit leave the rest to the others. */
static void share_budget(struct msift_cache *caches, int n, size_t bytes)
{
  bool again = true;

  while (again) {
    size_t left = bytes, sum = 0;

    again = false;
    for (int f = 0; f < n; f++) {
      const struct msift_cache *c = &caches[f];
      size_t all = slot_bytes(c) * (size_t)c->max_cached;

      sum += c->max_cached == 0 ? slot_bytes(c) : 0;
      left = all < left ? left - all : 0;
    }
    for (int f = 0; f < n; f++) {
      struct msift_cache *c = &caches[f];

      if (c->max_cached == 0 && (size_t)c->n_blocks <= left / sum) {
        c->max_cached = (int32_t)c->n_blocks;
        again = true;
      }
    }
    for (int f = 0; f < n && !again; f++)
      if (caches[f].max_cached == 0)
        caches[f].max_cached = left / sum > 0 ? (int32_t)(left / sum) : 1;
  }
}

static mpisift_status cache_init(struct msift_cache *c, struct msift_memory *memory, struct msift_error *error)
{
  c->newest = c->oldest = -1;
  c->reads = 1;
  c->by_row = c->rows == 1 && c->max_cached < c->n_blocks;
  MSIFT_TRY(msift_resize(memory, error, &c->cached, c->max_cached, sizeof *c->cached));
  MSIFT_TRY(msift_resize(memory, error, &c->place, c->n_blocks, sizeof *c->place));
  memset(c->place, 0xff, (size_t)c->n_blocks * sizeof *c->place);
  return MPISIFT_OK;
}

mpisift_status msift_caches_init(struct msift_cache *caches, int n, size_t bytes, struct msift_memory *memory,
                                 struct msift_error *error)
{
  share_budget(caches, n, bytes);
  for (int f = 0; f < n; f++)
    MSIFT_TRY(cache_init(&caches[f], memory, error));
  return MPISIFT_OK;
}

void msift_cache_destroy(struct msift_cache *c, struct msift_memory *memory)
{
  for (int32_t i = 0; i < c->n_cached; i++)
    msift_free(memory, &c->cached[i].memory);
  msift_free(memory, &c->cached);
  msift_free(memory, &c->place);
}

static void unlink_use(struct msift_cache *c, int32_t i)
{
  struct msift_cached *p = &c->cached[i];

  *(p->newer >= 0 ? &c->cached[p->newer].older : &c->newest) = p->older;
  *(p->older >= 0 ? &c->cached[p->older].newer : &c->oldest) = p->newer;
}

static void link_newest(struct msift_cache *c, int32_t i)
{
  struct msift_cached *p = &c->cached[i];

  p->newer = -1;
  p->older = c->newest;
  *(c->newest >= 0 ? &c->cached[c->newest].newer : &c->oldest) = i;
  c->newest = i;
}

static void link_oldest(struct msift_cache *c, int32_t i)
{
  struct msift_cached *p = &c->cached[i];

  p->older = -1;
  p->newer = c->oldest;
  *(c->oldest >= 0 ? &c->cached[c->oldest].older : &c->newest) = i;
  c->oldest = i;
}

void msift_cache_touch(struct msift_cache *c, int32_t i)
{
  if (c->newest == i)
    return;
  unlink_use(c, i);
  link_newest(c, i);
}

/* A place is the next to give way. */
static void age(struct msift_cache *c, int32_t i)
{
  unlink_use(c, i);
  link_oldest(c, i);
}

/* Time is a mean over about eight blocks: what the page cache holds may change soon. A block of which as many rows were
 * copied as it has is done with for this epoch, and its memory is at hand for the next one. */
void msift_cache_use(struct msift_cache *c, struct msift_cached *p, int64_t rows)
{
  if (p->used == 0 && p->seconds > 0)
    c->seconds += (p->seconds - c->seconds) / (c->seconds > 0 ? 8 : 1);
  p->used += rows;
  p->taken += rows;
  if (p->taken < p->n)
    return;
  p->taken = 0;
  age(c, (int32_t)(p - c->cached));
}

bool msift_cache_is_slow(const struct msift_cache *c)
{
  return c->seconds == 0 || c->seconds > handing;
}

/* Where less than half of the rows are wanted of the blocks that are held, rows are read one by one. Rows may be wanted
 * more than once, which does not matter here. */
static void judge(struct msift_cache *c, const struct msift_cached *p)
{
  c->n_left++;
  c->n_left_rows += p->n;
  c->n_left_used += p->used;
  if (c->n_left < JUDGED)
    return;
  c->wasteful = c->n_left_used * 2 < c->n_left_rows;
  c->by_row = c->rows == 1 || c->wasteful;
  c->n_left = c->n_left_rows = c->n_left_used = 0;
}

static void forget(struct msift_cache *c, struct msift_cached *p)
{
  if (p->block >= 0)
    c->place[p->block] = -1;
  p->block = p->group = -1;
  p->pinned = false;
  p->used = p->taken = p->announced = 0;
  p->seconds = 0;
  atomic_store(&p->state, MSIFT_VACANT);
}

/* Whether a block can give way; if it is queued, no more. */
static bool gives_way(struct msift_cached *p, struct msift_readers *readers)
{
  int state = atomic_load_explicit(&p->state, memory_order_acquire);

  if (p->pinned || state == MSIFT_READING)
    return false;
  return state != MSIFT_QUEUED || msift_readers_cancel(readers, p);
}

static int32_t claim(struct msift_cache *c, int64_t block, bool ahead, struct msift_readers *readers)
{
  int32_t i = c->oldest;

  if (c->n_cached < c->max_cached && (i < 0 || c->cached[i].block >= 0)) {
    i = c->n_cached++;
    c->cached[i] = (struct msift_cached){.block = -1};
    link_newest(c, i);
  } else {
    while (i >= 0 && ((ahead && c->cached[i].announced == c->reads) || !gives_way(&c->cached[i], readers)))
      i = c->cached[i].newer;
    if (i < 0)
      return -1;
    if (c->cached[i].block >= 0)
      judge(c, &c->cached[i]);
  }
  forget(c, &c->cached[i]);
  msift_cache_touch(c, i);
  c->cached[i].block = block;
  c->place[block] = i;
  c->n_begun++;
  return i;
}

int32_t msift_cache_claim(struct msift_cache *c, int64_t block, struct msift_readers *readers)
{
  return claim(c, block, false, readers);
}

int32_t msift_cache_claim_ahead(struct msift_cache *c, int64_t block, struct msift_readers *readers)
{
  return claim(c, block, true, readers);
}

void msift_cache_announce(struct msift_cache *c, int32_t i)
{
  msift_cache_touch(c, i);
  c->cached[i].announced = c->reads;
}

void msift_cache_drop(struct msift_cache *c, int32_t i)
{
  forget(c, &c->cached[i]);
  age(c, i);
}

mpisift_status msift_cache_room(struct msift_cache *c, int32_t i, struct msift_memory *memory,
                                struct msift_error *error)
{
  struct msift_cached *p = &c->cached[i];

  if (p->memory != NULL)
    return MPISIFT_OK;
  p->memory = msift_alloc(memory, error, 1, slot_bytes(c));
  if (p->memory == NULL)
    return error->status;
  p->rows = msift_align(p->memory);
  return MPISIFT_OK;
}
