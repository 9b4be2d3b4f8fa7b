#include "core/walk.h"

#include <string.h>

/* Windows of very many rows, which are small, are not held: ids would take more than the rows. */
enum { MOST_IDS = 1 << 21 };

mpisift_status msift_walk_reserve(struct msift_walk *walk, const struct msift_order *o, int64_t ranks, int64_t rank,
                                  struct msift_memory *memory, struct msift_error *error)
{
  int64_t lanes = o->lanes > rank ? (o->lanes - rank + ranks - 1) / ranks : 0;

  if (walk->ranks > 0 || !o->shuffle)
    return MPISIFT_OK;
  if (o->blocks.half_bits <= MSIFT_TABLED_BITS && walk->blocks == NULL)
    MSIFT_TRY(msift_resize(memory, error, &walk->blocks, 1, sizeof *walk->blocks));
  if (o->window > 1 && lanes <= MOST_IDS / o->window) {
    MSIFT_TRY(msift_resize(memory, error, &walk->held, lanes, sizeof *walk->held));
    MSIFT_TRY(msift_resize(memory, error, &walk->ids, lanes * o->window, sizeof *walk->ids));
    walk->window = o->window;
  }
  walk->n_lanes = lanes;
  walk->epoch = -1;
  walk->ranks = ranks;
  return MPISIFT_OK;
}

void msift_walk_destroy(struct msift_walk *walk, struct msift_memory *memory)
{
  msift_free(memory, &walk->blocks);
  msift_free(memory, &walk->held);
  msift_free(memory, &walk->ids);
}

static void begin_epoch(struct msift_walk *walk, const struct msift_order *o)
{
  walk->epoch = o->epoch;
  if (walk->blocks != NULL)
    msift_rounds_make(walk->blocks, &o->blocks);
  if (walk->window > 0)
    memset(walk->held, 0xff, (size_t)walk->n_lanes * sizeof *walk->held);
}

int64_t msift_walk_id(struct msift_walk *walk, const struct msift_order *o, int64_t position)
{
  int64_t index = position / o->lanes, lane = position - index * o->lanes, slot, w, *ids;

  if (!o->shuffle)
    return position;
  if (walk->epoch != o->epoch)
    begin_epoch(walk, o);
  if (walk->window == 0)
    return msift_order_id_tabled(o, walk->blocks, position);
  slot = lane / walk->ranks;
  w = index / walk->window;
  ids = walk->ids + slot * walk->window;
  if (walk->held[slot] != w) {
    msift_order_window(o, walk->blocks, lane, w, ids);
    walk->held[slot] = w;
  }
  return ids[index - w * walk->window];
}
