/* From the owners of ids to the replicas that train them, in three moves, none of which takes more than a rank's share:
 * to the owners of positions, who number them; to the owners of steps, who seat batches; to the replicas. */
#include <string.h>

#include "api/indices.h"
#include "comm/route.h"
#include "core/plan.h"
#include "core/runs.h"

void msift_parcels_free(mpisift_indices *x, struct msift_parcels *p)
{
  msift_free(&x->ctx->memory, &p->items);
  msift_free(&x->ctx->memory, &p->to);
  p->n = 0;
}

mpisift_status msift_parcels_resize(mpisift_indices *x, struct msift_parcels *p, int64_t n, size_t size)
{
  struct msift_error *error = &x->ctx->error;

  MSIFT_TRY(msift_resize(&x->ctx->memory, error, &p->items, n, size));
  return msift_resize(&x->ctx->memory, error, &p->to, n, sizeof *p->to);
}

/* What a delivery takes. */
struct delivery {
  int64_t *sent, *received, *place; /* [ranks] */
  unsigned char *sorted;
};

static void free_delivery(mpisift_indices *x, struct delivery *d)
{
  msift_free(&x->ctx->memory, &d->sent);
  msift_free(&x->ctx->memory, &d->received);
  msift_free(&x->ctx->memory, &d->place);
  msift_free(&x->ctx->memory, &d->sorted);
}

/* Items by rank, in their order. */
static mpisift_status sort_parcels(mpisift_indices *x, struct delivery *d, const struct msift_parcels *p, size_t size)
{
  struct msift_memory *memory = &x->ctx->memory;
  struct msift_error *error = &x->ctx->error;
  int ranks = x->ctx->team.size;

  MSIFT_TRY(msift_resize(memory, error, &d->sent, ranks, sizeof *d->sent));
  MSIFT_TRY(msift_resize(memory, error, &d->received, ranks, sizeof *d->received));
  MSIFT_TRY(msift_resize(memory, error, &d->place, ranks, sizeof *d->place));
  MSIFT_TRY(msift_resize(memory, error, &d->sorted, p->n, size));
  memset(d->sent, 0, (size_t)ranks * sizeof *d->sent);
  memset(d->received, 0, (size_t)ranks * sizeof *d->received);
  for (int64_t i = 0; i < p->n; i++)
    if (p->to[i] >= 0)
      d->sent[p->to[i]]++;
  for (int r = 0; r < ranks; r++)
    d->place[r] = r == 0 ? 0 : d->place[r - 1] + d->sent[r - 1];
  for (int64_t i = 0; i < p->n; i++)
    if (p->to[i] >= 0)
      memcpy(d->sorted + (size_t)d->place[p->to[i]]++ * size, (unsigned char *)p->items + (size_t)i * size, size);
  return MPISIFT_OK;
}

static mpisift_status deliver(mpisift_indices *x, struct delivery *d, struct msift_parcels *p, size_t size)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;
  int64_t n = 0;

  sort_parcels(x, d, p, size);
  MSIFT_TRY(msift_team_agree(team, error));
  MSIFT_TRY(msift_route_counts(team, d->sent, d->received, error));
  for (int r = 0; r < team->size; r++)
    n += d->received[r];
  msift_parcels_resize(x, p, n, size);
  MSIFT_TRY(msift_team_agree(team, error));
  p->n = n;
  return msift_route(team, size, MSIFT_MESSAGE_MOST, d->sorted, d->sent, p->items, d->received, error);
}

mpisift_status msift_deliver(mpisift_indices *x, struct msift_parcels *p, size_t size)
{
  struct delivery d = {NULL, NULL, NULL, NULL};

  deliver(x, &d, p, size);
  free_delivery(x, &d);
  return x->ctx->error.status;
}

/* Put picks into the order of `at`; these are distinct, in [first, first + span). */
static mpisift_status order_picks(mpisift_indices *x, struct msift_parcels *p, int64_t first, int64_t span)
{
  struct msift_memory *memory = &x->ctx->memory;
  struct msift_error *error = &x->ctx->error;
  struct msift_pick *picks = p->items, *sorted = msift_alloc(memory, error, p->n, sizeof *sorted);
  int64_t *place = msift_alloc(memory, error, span, sizeof *place), n = 0;

  if (error->status == MPISIFT_OK) {
    for (int64_t i = 0; i < p->n; i++)
      place[picks[i].at - first] = i + 1;
    for (int64_t k = 0; k < span; k++)
      if (place[k] > 0)
        sorted[n++] = picks[place[k] - 1];
    memcpy(picks, sorted, (size_t)n * sizeof *picks);
  }
  msift_free(memory, &sorted);
  msift_free(memory, &place);
  return error->status;
}

/* Positions in runs: each rank numbers those of its own, behind those of lower ranks. */
static mpisift_status number(mpisift_indices *x, struct msift_spread *s)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;
  int64_t first = msift_run_begin(x->n, team->size, team->rank), before;
  int64_t end = msift_run_begin(x->n, team->size, team->rank + 1);
  struct msift_pick *picks = s->picks.items;

  for (int64_t i = 0; i < s->picks.n; i++)
    s->picks.to[i] = (int32_t)msift_run_of(x->n, team->size, picks[i].at);
  MSIFT_TRY(msift_deliver(x, &s->picks, sizeof *picks));
  order_picks(x, &s->picks, first, end - first);
  MSIFT_TRY(msift_team_agree(team, error));
  MSIFT_TRY(msift_route_sum_before(team, s->picks.n, &before, error));
  picks = s->picks.items;
  for (int64_t i = 0; i < s->picks.n; i++) {
    picks[i].lane = picks[i].at % x->lanes;
    picks[i].at = s->carried_in + before + i;
  }
  return MPISIFT_OK;
}

/* Rank 0 puts what it carried before its own. */
static mpisift_status prepend(mpisift_indices *x, struct msift_spread *s)
{
  struct msift_pick *picks;
  int64_t carried = s->carried_in;
  int64_t n = s->picks.n;

  if (x->ctx->team.rank != 0 || !msift_team_leads(&x->ctx->team) || carried == 0)
    return MPISIFT_OK;
  MSIFT_TRY(msift_parcels_resize(x, &s->picks, n + carried, sizeof *picks));
  picks = s->picks.items;
  memmove(picks + carried, picks, (size_t)n * sizeof *picks);
  memcpy(picks, x->carried, (size_t)carried * sizeof *picks);
  for (int64_t i = 0; i < carried; i++)
    picks[i].at = i;
  s->picks.n = n + carried;
  return MPISIFT_OK;
}

static int64_t least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* Where the steps of a rank begin in the sequence. */
static int64_t steps_begin(const mpisift_indices *x, const struct msift_spread *s, int rank)
{
  return least(msift_run_begin(s->cut.steps, x->ctx->team.size, rank) * x->global_batch, s->cut.trained);
}

/* Steps in runs. What is carried on goes to rank 0, with places behind those of its steps. */
static mpisift_status send_to_steps(mpisift_indices *x, struct msift_spread *s)
{
  int64_t behind = steps_begin(x, s, 1) - s->cut.trained;
  struct msift_pick *picks = s->picks.items;

  for (int64_t i = 0; i < s->picks.n; i++) {
    int64_t at = picks[i].at;

    if (at < s->cut.trained) {
      s->picks.to[i] = (int32_t)msift_run_of(s->cut.steps, x->ctx->team.size, at / x->global_batch);
    } else {
      s->picks.to[i] = at < s->cut.trained + s->cut.carried ? 0 : -1;
      s->dropped += s->picks.to[i] < 0 ? msift_mix((uint64_t)picks[i].id + 1) : 0;
      picks[i].at += behind;
    }
  }
  return msift_deliver(x, &s->picks, sizeof *picks);
}

/* Of rank 0's picks in order: the last are to be carried on. */
static mpisift_status keep_carried(mpisift_indices *x, struct msift_spread *s)
{
  struct msift_memory *memory = &x->ctx->memory;
  const struct msift_pick *picks = s->picks.items;
  bool here = x->ctx->team.rank == 0 && msift_team_leads(&x->ctx->team);

  s->carried = msift_alloc(memory, &x->ctx->error, here ? s->cut.carried : 0, sizeof *s->carried);
  if (s->carried == NULL || !here)
    return x->ctx->error.status;
  s->picks.n -= s->cut.carried;
  memcpy(s->carried, picks + s->picks.n, (size_t)s->cut.carried * sizeof *picks);
  return MPISIFT_OK;
}

/* Who trains what, batch by batch. */
static mpisift_status seat(mpisift_indices *x, struct msift_spread *s)
{
  const struct msift_team *team = &x->ctx->team;
  const struct msift_pick *picks = s->picks.items;
  int64_t *room = msift_alloc(&x->ctx->memory, &x->ctx->error, team->size, sizeof *room);

  if (room == NULL)
    return x->ctx->error.status;
  for (int64_t i = 0, n; i < s->picks.n; i += n) {
    n = least(x->global_batch, s->cut.trained - picks[i].at);
    msift_seat(picks + i, n, team->size, room, s->picks.to + i);
    for (int64_t k = i; k < i + n; k++)
      s->moved += s->picks.to[k] != picks[k].lane % team->size;
  }
  msift_free(&x->ctx->memory, &room);
  return MPISIFT_OK;
}

static mpisift_status seat_steps(mpisift_indices *x, struct msift_spread *s)
{
  int rank = x->ctx->team.rank;
  int64_t first = steps_begin(x, s, rank), end = steps_begin(x, s, rank + 1);

  MSIFT_TRY(order_picks(x, &s->picks, first, end - first + (rank == 0 ? s->cut.carried : 0)));
  MSIFT_TRY(keep_carried(x, s));
  return seat(x, s);
}

int64_t msift_rows_before(const mpisift_indices *x, const struct msift_rows_of *rows, int64_t k, int64_t replica)
{
  int64_t ranks = x->ctx->team.size, full = least(k, rows->total / x->global_batch);

  return full * msift_quota(x->global_batch, ranks, replica) +
         (k > full ? msift_quota(rows->total % x->global_batch, ranks, replica) : 0);
}

void msift_rows_free(mpisift_indices *x, struct msift_rows_of *rows)
{
  msift_free(&x->ctx->memory, &rows->ids);
  memset(rows, 0, sizeof *rows);
}

static void fill_row(const mpisift_indices *x, struct msift_rows_of *r, int64_t row, const struct msift_pick *pick)
{
  r->ids[row] = pick->id;
  r->slots[row] = pick->at % x->global_batch;
  r->epochs[row] = pick->epoch;
  r->losses[row] = pick->loss;
  r->probabilities[row] = pick->probability;
  r->weights[row] = pick->weight;
}

/* Picks as arrays, with padding behind. */
static mpisift_status make_rows(mpisift_indices *x, struct msift_spread *s, bool padded)
{
  int64_t short_rows = s->cut.trained % x->global_batch, quota, all;
  const struct msift_pick padding = {.at = -1, .id = -1}, *picks = s->picks.items;
  struct msift_rows_of *r = &s->rows;

  quota = msift_quota(x->global_batch, x->ctx->team.size, x->ctx->team.rank);
  *r = (struct msift_rows_of){.steps = s->cut.steps, .total = s->cut.trained, .n = s->picks.n};
  if (padded && short_rows > 0)
    r->padding = quota - msift_quota(short_rows, x->ctx->team.size, x->ctx->team.rank);
  all = r->n + r->padding;
  r->ids = msift_alloc(&x->ctx->memory, &x->ctx->error, all, 3 * sizeof *r->ids + 3 * sizeof *r->losses);
  if (r->ids == NULL)
    return x->ctx->error.status;
  r->slots = r->ids + all;
  r->epochs = r->slots + all;
  r->losses = (float *)(r->epochs + all);
  r->probabilities = r->losses + all;
  r->weights = r->probabilities + all;
  for (int64_t i = 0; i < all; i++)
    fill_row(x, r, i, i < r->n ? &picks[i] : &padding);
  return MPISIFT_OK;
}

/* The leader's rows to the other ranks of the replica. */
static mpisift_status share_rows(mpisift_indices *x, struct msift_spread *s)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;

  if (team->replica_size == 1)
    return MPISIFT_OK;
  MSIFT_TRY(msift_team_share(team, &s->picks.n, 1, sizeof s->picks.n, 0, error));
  msift_parcels_resize(x, &s->picks, s->picks.n, sizeof(struct msift_pick));
  MSIFT_TRY(msift_team_agree(team, error));
  return msift_team_share(team, s->picks.items, s->picks.n, sizeof(struct msift_pick), 0, error);
}

mpisift_status msift_spread(mpisift_indices *x, struct msift_spread *s, bool padded)
{
  const struct msift_team *team = &x->ctx->team;
  struct msift_error *error = &x->ctx->error;

  MSIFT_TRY(number(x, s));
  prepend(x, s);
  MSIFT_TRY(msift_team_agree(team, error));
  MSIFT_TRY(send_to_steps(x, s));
  if (msift_team_leads(team))
    seat_steps(x, s);
  MSIFT_TRY(msift_team_agree(team, error));
  MSIFT_TRY(msift_deliver(x, &s->picks, sizeof(struct msift_pick)));
  MSIFT_TRY(share_rows(x, s));
  make_rows(x, s, padded);
  return msift_team_agree(team, error);
}
