#include "core/order.h"

#include "core/random.h"
#include "core/runs.h"

/* A lane should draw on several blocks, or its samples stay neighbours. */
enum { BLOCKS_PER_LANE = 4 };

static int64_t min64(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

struct msift_order msift_order_make(int64_t n, int64_t block, int64_t lanes, int64_t window, bool shuffle,
                                    uint64_t seed, int64_t epoch)
{
  struct msift_order o = {.n = n, .lanes = min64(lanes, n), .shuffle = shuffle, .seed = seed, .epoch = epoch};
  int64_t blocks;

  o.block = min64(block, max64(1, n / (o.lanes * BLOCKS_PER_LANE)));
  o.window = o.block == 1 ? 1 : o.block * min64(window, n / o.block + 1);
  blocks = (n + o.block - 1) / o.block;
  o.blocks = msift_permutation_make(blocks, msift_random(seed, MSIFT_STREAM_ORDER, (uint64_t)epoch, 0));
  o.short_at = msift_permute_inverse(&o.blocks, blocks - 1);
  return o;
}

/* The shuffle of a lane's window w. */
static struct msift_permutation window_of(const struct msift_order *o, int64_t lane, int64_t length, int64_t w)
{
  uint64_t key = msift_random(o->seed, MSIFT_STREAM_WINDOW, (uint64_t)o->epoch, (uint64_t)lane << 40 ^ (uint64_t)w);

  return msift_permutation_make(min64(o->window, length - w * o->window), key);
}

/* Shuffle an index of a lane inside its window. */
static int64_t window_index(const struct msift_order *o, int64_t lane, int64_t length, int64_t index)
{
  int64_t w = index / o->window, begin = w * o->window;
  struct msift_permutation p = window_of(o, lane, length, w);

  return begin + msift_permute(&p, index - begin);
}

/* The id at a place in the concatenation of the permuted blocks. Returns how many places from there on have the ids
 * that follow. */
static int64_t block_run(const struct msift_order *o, const struct msift_rounds *rounds, int64_t place, int64_t *id)
{
  int64_t missing = o->blocks.n * o->block - o->n;
  int64_t short_end = (o->short_at + 1) * o->block - missing;
  int64_t shifted = place >= short_end ? place + missing : place;
  int64_t at = shifted / o->block, skip = shifted - at * o->block;

  *id =
      (rounds == NULL ? msift_permute(&o->blocks, at) : msift_permute_tabled(&o->blocks, rounds, at)) * o->block + skip;
  return o->block - skip - (at == o->short_at ? missing : 0);
}

int64_t msift_order_id_tabled(const struct msift_order *o, const struct msift_rounds *rounds, int64_t position)
{
  int64_t lane = position % o->lanes, index = position / o->lanes, id;
  int64_t begin = msift_run_begin(o->n, o->lanes, lane), end = msift_run_begin(o->n, o->lanes, lane + 1);

  if (!o->shuffle)
    return position;
  if (o->window > 1)
    index = window_index(o, lane, end - begin, index);
  block_run(o, rounds, begin + index, &id);
  return id;
}

int64_t msift_order_id(const struct msift_order *o, int64_t position)
{
  return msift_order_id_tabled(o, NULL, position);
}

/* By the places in turn, each of which goes to its index. */
void msift_order_window(const struct msift_order *o, const struct msift_rounds *rounds, int64_t lane, int64_t w,
                        int64_t *ids)
{
  int64_t begin = msift_run_begin(o->n, o->lanes, lane), length = msift_run_begin(o->n, o->lanes, lane + 1) - begin;
  int64_t first = w * o->window, n = min64(o->window, length - first), id = 0;
  struct msift_permutation p = window_of(o, lane, length, w);
  struct msift_image image;
  bool imaged = msift_image_make(&image, &p);

  for (int64_t i = 0, run = 0; i < n; i++, id++, run--) {
    if (run == 0)
      run = block_run(o, rounds, begin + first + i, &id);
    ids[imaged ? msift_image_inverse(&image, &p, i) : msift_permute_inverse(&p, i)] = id;
  }
}

void msift_finder_make(struct msift_finder *f, const struct msift_order *o)
{
  f->order = o;
  f->block = f->lane = f->w = -1;
  f->tabled = o->shuffle && msift_rounds_make(&f->of_blocks, &o->blocks);
}

/* Where a block begins in the concatenation of the permuted blocks. */
static int64_t block_begin(struct msift_finder *f, int64_t block)
{
  const struct msift_order *o = f->order;
  int64_t missing = o->blocks.n * o->block - o->n, at;

  if (f->block != block) {
    at = f->tabled ? msift_permute_inverse_tabled(&o->blocks, &f->of_blocks, block)
                   : msift_permute_inverse(&o->blocks, block);
    f->block = block;
    f->begin = at * o->block - (at > o->short_at ? missing : 0);
  }
  return f->begin;
}

/* Whether the ids of a block, which come in turn, are worth a table of the window's rounds. */
static bool pays(const struct msift_finder *f)
{
  return (INT64_C(1) << f->window.half_bits) <= 2 * f->order->block;
}

/* Undo the shuffle of a lane's index inside its window. */
static int64_t window_inverse(struct msift_finder *f, int64_t lane, int64_t length, int64_t index)
{
  const struct msift_order *o = f->order;
  int64_t w = index / o->window, begin = w * o->window;

  if (f->lane != lane || f->w != w) {
    f->lane = lane;
    f->w = w;
    f->window = window_of(o, lane, length, w);
    f->window_tabled = pays(f) && msift_rounds_make(&f->of_window, &f->window);
  }
  return begin + (f->window_tabled ? msift_permute_inverse_tabled(&f->window, &f->of_window, index - begin)
                                   : msift_permute_inverse(&f->window, index - begin));
}

int64_t msift_finder_position(struct msift_finder *f, int64_t id)
{
  const struct msift_order *o = f->order;
  int64_t block, place, lane, begin, end;

  if (!o->shuffle)
    return id;
  block = id / o->block;
  place = block_begin(f, block) + id - block * o->block;
  lane = msift_run_of(o->n, o->lanes, place);
  begin = msift_run_begin(o->n, o->lanes, lane);
  end = msift_run_begin(o->n, o->lanes, lane + 1);
  return (o->window > 1 ? window_inverse(f, lane, end - begin, place - begin) : place - begin) * o->lanes + lane;
}

int64_t msift_lane_count(int64_t lanes, int64_t ranks, int64_t rank, int64_t end)
{
  int64_t rest = end % lanes;
  int64_t each = lanes > rank ? (lanes - rank + ranks - 1) / ranks : 0;

  return end / lanes * each + (rest > rank ? (rest - rank + ranks - 1) / ranks : 0);
}

int64_t msift_lane_count_max(int64_t lanes, int64_t ranks, int64_t begin, int64_t end)
{
  int64_t most = 0;

  for (int64_t r = 0; r < ranks; r++)
    most = max64(most, msift_lane_count(lanes, ranks, r, end) - msift_lane_count(lanes, ranks, r, begin));
  return most;
}

int64_t msift_lane_next(int64_t lanes, int64_t ranks, int64_t rank, int64_t position)
{
  int64_t lane = position % lanes, turn = position - lane;
  int64_t next = lane <= rank ? rank : rank + (lane - rank + ranks - 1) / ranks * ranks;

  return next < lanes ? turn + next : turn + lanes + rank;
}
