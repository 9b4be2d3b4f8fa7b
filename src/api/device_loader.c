/* What a loader on a device is made of, and the beginning and end of its calls. */
#include <string.h>

#include "api/device.h"
#include "comm/aware.h"
#include "comm/vote.h"

void mpisift_device_init(mpisift_device *device, size_t size)
{
  static const mpisift_device defaults = {.size = sizeof defaults};

  memset(device, 0, size);
  memcpy(device, &defaults, size < sizeof defaults ? size : sizeof defaults);
  device->size = size;
}

/* What there is no device form of. */
static mpisift_status check_config(const mpisift_loader *l, struct msift_error *error)
{
  if (l->config.exact_history)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "config.exact_history is set: a device has histories by bins only; unset it");
  if (msift_policy_stale(l->policy))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "policy %s goes by stale losses, which a loader on a device does not; use a loader in host "
                           "memory with config.pin_memory",
                           l->policy->name);
  for (int f = 0; f < l->source.n_fields; f++)
    if (l->padded[f])
      return msift_error_set(error, MPISIFT_ERR_ARG, "field %d is padded, which a sifter on a device does not take", f);
  if (l->ctx->team.replica_size > 1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "team.replica has %d ranks; on a device a replica is one rank",
                           l->ctx->team.replica_size);
  if (l->max_round > INT32_MAX)
    return msift_error_set(error, MPISIFT_ERR_ARG, "rounds of up to %lld positions are too long for a device",
                           (long long)l->max_round);
  return MPISIFT_OK;
}

static mpisift_status check_device(const mpisift_device *device, struct msift_error *error)
{
  if (device->size < sizeof *device)
    return msift_error_set(error, MPISIFT_ERR_ARG, "device.size is %zu, not %zu; call mpisift_device_init first",
                           device->size, sizeof *device);
  if (device->transport < MPISIFT_TRANSPORT_HOST || device->transport > MPISIFT_TRANSPORT_NCCL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "device.transport is %d, which is none", (int)device->transport);
  return MPISIFT_OK;
}

mpisift_status msift_gpu_open(mpisift_loader *l, const mpisift_device *device, struct msift_error *error)
{
  const struct msift_device *table = msift_device_choose("device", error);
  struct msift_gpu *g;

  if (table == NULL)
    return error->status;
  MSIFT_TRY(check_device(device, error));
  MSIFT_TRY(check_config(l, error));
  l->gpu = g = msift_alloc(&l->ctx->memory, error, 1, sizeof *g);
  if (g == NULL)
    return error->status;
  g->device = table;
  g->stream = device->stream;
  g->transport = device->transport;
  g->refits = -1;
  g->window.size = sizeof(uint32_t);
  g->window_sides = l->config.groups > 0 ? 2 : 1;
  g->pooled.size = sizeof(int64_t);
  g->piece_rows = l->pushed ? l->max_candidates : l->score_rows;
  MSIFT_TRY(table->get(&g->number, error));
  MSIFT_TRY(table->check_stream(g->stream, "device.stream", error));
  g->pinned = msift_backend_choose(true, error); /* from here on there is a stream to wait for in the end */
  return error->status;
}

mpisift_status msift_gpu_connect(mpisift_loader *l, struct ncclComm *nccl, struct msift_error *error)
{
  const struct msift_team *team = &l->ctx->team;

  if (l->gpu->transport == MPISIFT_TRANSPORT_CUDA_AWARE)
    return msift_aware_check(team, error);
  if (l->gpu->transport == MPISIFT_TRANSPORT_NCCL)
    return msift_nccl_open(&l->gpu->nccl, team, nccl, &l->ctx->memory, error);
  return MPISIFT_OK;
}

void *msift_gpu_new(mpisift_loader *l, struct msift_error *error, int64_t n, size_t size)
{
  return l->gpu->device->allocate(&l->ctx->memory, error, n, size);
}

/* The new block for the old one, unless copying has failed. */
static mpisift_status replace(mpisift_loader *l, void *array, void *block, struct msift_error *error)
{
  void *old = block;

  if (error->status == MPISIFT_OK) {
    memcpy(&old, array, sizeof old);
    memcpy(array, &block, sizeof block);
  }
  l->gpu->device->release(&l->ctx->memory, old);
  return error->status;
}

mpisift_status msift_gpu_grow(mpisift_loader *l, void *array, int64_t kept, int64_t n, size_t size,
                              struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  void *old, *block = msift_gpu_new(l, error, n, size);

  if (block == NULL)
    return error->status;
  memcpy(&old, array, sizeof old);
  if (old != NULL && g->device->copy(block, old, (size_t)kept * size, g->stream, error) == MPISIFT_OK)
    g->device->synchronize(g->stream, error); /* whatever uses it */
  return replace(l, array, block, error);
}

mpisift_status msift_gpu_grow_pinned(mpisift_loader *l, void *array, int64_t n, size_t size, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  void *old, *block = g->pinned->allocate(&l->ctx->memory, error, n, size);

  if (block == NULL)
    return error->status;
  memcpy(&old, array, sizeof old);
  if (old != NULL && g->device->synchronize(g->stream, error) != MPISIFT_OK) {
    g->pinned->release(&l->ctx->memory, block);
    return error->status;
  }
  g->pinned->release(&l->ctx->memory, old);
  memcpy(array, &block, sizeof block);
  return MPISIFT_OK;
}

/* Where the items of side k of a ring begin. */
static unsigned char *side(const struct msift_ring *ring, int k)
{
  return ring->items + (size_t)k * (size_t)ring->capacity * ring->size;
}

static void copy_side(mpisift_loader *l, const struct msift_ring *to, const struct msift_ring *from, int k,
                      struct msift_error *error)
{
  const struct msift_gpu *g = l->gpu;
  size_t size = from->size, run = (size_t)msift_ring_run(from, 0, from->n);

  g->device->copy(side(to, k), side(from, k) + (size_t)from->first * size, run * size, g->stream, error);
  g->device->copy(side(to, k) + run * size, side(from, k), ((size_t)from->n - run) * size, g->stream, error);
}

mpisift_status msift_gpu_grow_ring(mpisift_loader *l, struct msift_ring *ring, int sides, int64_t n,
                                   struct msift_error *error)
{
  int64_t need = ring->n + n;
  struct msift_ring larger = {.size = ring->size, .n = ring->n, .capacity = need + need / 2};

  if (need <= ring->capacity)
    return MPISIFT_OK;
  larger.items = msift_gpu_new(l, error, larger.capacity, (size_t)sides * ring->size);
  if (larger.items == NULL)
    return error->status;
  for (int k = 0; k < sides && ring->items != NULL; k++)
    copy_side(l, &larger, ring, k, error);
  if (ring->items != NULL)
    l->gpu->device->synchronize(l->gpu->stream, error);
  if (error->status == MPISIFT_OK) {
    struct msift_ring old = *ring;

    *ring = larger;
    larger = old;
  }
  l->gpu->device->release(&l->ctx->memory, larger.items);
  return error->status;
}

static mpisift_status allocate_piece(mpisift_loader *l, struct msift_piece *piece, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  for (int f = 0; f < l->source.n_fields && !l->pushed; f++)
    MSIFT_TRY(msift_gpu_grow_pinned(l, &piece->data[f], g->piece_rows, l->field_bytes[f], error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &piece->ids, g->piece_rows, sizeof *piece->ids, error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &piece->places, g->piece_rows, sizeof *piece->places, error));
  return g->device->event_create(&piece->event, error);
}

/* Of a round: on the device, and the host's of the same size. */
static mpisift_status allocate_round(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  size_t bytes = sizeof *g->findings + (size_t)l->max_words * sizeof *g->words;
  int64_t groups = l->config.groups;

  MSIFT_TRY(msift_gpu_grow(l, &g->findings, 0, 1, bytes, error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &g->found, 1, bytes, error));
  g->words = (uint32_t *)(void *)(g->findings + 1);
  g->told = (uint32_t *)(void *)(g->found + 1);
  MSIFT_TRY(msift_gpu_grow_pinned(l, &g->header, MSIFT_HEADER_WORDS, sizeof *g->header, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->n_kept, 0, 1, sizeof *g->n_kept, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->tables, 0, 1, sizeof *g->tables, error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &g->made, 1, sizeof *g->made, error));
  MSIFT_TRY(msift_gpu_grow(l, &g->by_group, 0, groups, sizeof *g->by_group, error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &g->made_by_group, groups, sizeof *g->made_by_group, error));
  return g->device->event_create(&g->decided, error);
}

static mpisift_status allocate_batch(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;
  size_t seat = sizeof *g->seats.sources + sizeof *g->seats.slots;

  MSIFT_TRY(msift_gpu_grow(l, &g->received, 0, l->quota, l->record_bytes, error));
  if (msift_gpu_staged(g))
    MSIFT_TRY(msift_gpu_grow_pinned(l, &l->receive, l->quota, l->record_bytes, error));
  else
    l->receive = g->received;
  MSIFT_TRY(msift_gpu_grow(l, &g->seats.sources, 0, l->quota, seat, error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &g->chosen.sources, l->quota, seat, error));
  g->seats.slots = (int64_t *)(void *)(g->seats.sources + l->quota);
  g->chosen.slots = (int64_t *)(void *)(g->chosen.sources + l->quota);
  MSIFT_TRY(msift_gpu_grow(l, &g->id_hash, 0, 1, sizeof *g->id_hash, error));
  MSIFT_TRY(msift_gpu_grow_pinned(l, &g->id_hash_told, 1, sizeof *g->id_hash_told, error));
  return g->device->event_create(&g->delivered, error);
}

static mpisift_status allocate_reports(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  for (int k = 0; k < MSIFT_LATE; k++) {
    MSIFT_TRY(msift_gpu_grow_pinned(l, &g->late[k].losses, l->quota, sizeof *g->late[k].losses, error));
    MSIFT_TRY(g->device->event_create(&g->late[k].event, error));
  }
  return MPISIFT_OK;
}

mpisift_status msift_gpu_allocate(mpisift_loader *l, struct msift_error *error)
{
  MSIFT_TRY(allocate_piece(l, &l->gpu->pieces[0], error));
  MSIFT_TRY(allocate_piece(l, &l->gpu->pieces[1], error));
  MSIFT_TRY(allocate_round(l, error));
  MSIFT_TRY(allocate_reports(l, error));
  MSIFT_TRY(allocate_batch(l, error));
  if (l->gpu->device->event_record(l->gpu->decided, l->gpu->stream, error) != MPISIFT_OK)
    msift_error_prefix(error, "device.stream, which has to be one of the current device: ");
  return error->status;
}

static void release(mpisift_loader *l, void *array)
{
  void *block;

  memcpy(&block, array, sizeof block);
  l->gpu->device->release(&l->ctx->memory, block);
  memset(array, 0, sizeof block);
}

static void release_pinned(mpisift_loader *l, void *array)
{
  void *block;

  memcpy(&block, array, sizeof block);
  l->gpu->pinned->release(&l->ctx->memory, block);
  memset(array, 0, sizeof block);
}

static void release_stage(mpisift_loader *l)
{
  struct msift_stage *s = &l->stage;
  struct msift_gpu *g = l->gpu;

  for (int f = 0; f < l->source.n_fields; f++)
    release(l, &s->data[f]);
  release(l, &s->losses);
  release(l, &s->more.bound);
  release(l, &s->more.confidence);
  release(l, &s->more.group);
  release(l, &g->ids);
  release(l, &g->places);
  release(l, &g->accepted);
  release(l, &g->probabilities);
  release(l, &g->weights);
  release(l, &g->kept);
  release(l, &g->scratch);
  for (int k = 0; k < 2; k++) {
    for (int f = 0; f < l->source.n_fields; f++)
      release_pinned(l, &g->pieces[k].data[f]);
    release_pinned(l, &g->pieces[k].ids);
    release_pinned(l, &g->pieces[k].places);
    g->device->event_destroy(g->pieces[k].event);
  }
}

static void release_round(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;

  release(l, &g->window.items);
  release(l, &g->findings);
  release_pinned(l, &g->found);
  release_pinned(l, &g->header);
  release(l, &g->n_kept);
  release(l, &g->tables);
  release_pinned(l, &g->made);
  release(l, &g->by_group);
  release_pinned(l, &g->made_by_group);
  g->device->event_destroy(g->decided);
}

static void release_batch(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;

  for (int f = 0; f < l->source.n_fields; f++)
    release(l, &l->batch_data[f]);
  release(l, &l->columns.ids);
  release(l, &l->pool.records.items);
  msift_ring_destroy(&g->pooled, &l->ctx->memory);
  release(l, &g->seats.sources);
  release_pinned(l, &g->chosen.sources);
  release(l, &g->id_hash);
  release_pinned(l, &g->id_hash_told);
  g->device->event_destroy(g->delivered);
}

static void release_messages(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;

  if (msift_gpu_staged(g)) {
    release_pinned(l, &l->send);
    release_pinned(l, &l->receive);
  }
  release(l, &g->received);
  release(l, &l->send);
  l->receive = NULL;
}

static void release_reports(mpisift_loader *l)
{
  struct msift_gpu *g = l->gpu;
  struct msift_error ignored = {0};

  for (int k = 0; k < MSIFT_LATE; k++) {
    if (g->late[k].event != NULL)
      g->device->event_reach(g->late[k].event, &ignored); /* of a stream that may be another */
    release_pinned(l, &g->late[k].losses);
    g->device->event_destroy(g->late[k].event);
  }
}

/* Whatever failed, what is enqueued is waited for: it uses the memory. What NCCL has there ends for a leader that is
 * told of another's failure only now. */
static void wait_for_all(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  if (g->nccl.comm != NULL && g->device->event_record(g->decided, g->stream, error) == MPISIFT_OK)
    msift_nccl_wait(&g->nccl, g->decided, g->stream, error);
  g->device->synchronize(g->stream, error);
}

void msift_gpu_close(mpisift_loader *l)
{
  struct msift_error ignored = {0};
  struct msift_gpu *g = l->gpu;
  bool by_mpi = !msift_gpu_by_nccl(g);

  if (g->pinned != NULL) {
    msift_gpu_switch(l, &ignored);
    wait_for_all(l, &ignored);
    msift_nccl_close(&g->nccl, &l->ctx->memory);
    release_stage(l);
    release_round(l);
    release_batch(l);
    if (!by_mpi || !l->ctx->poisoned || !l->exchange_pending) /* MPI may still write there */
      release_messages(l);
    release_reports(l);
    msift_error_clear(&ignored);
    msift_gpu_switch_back(l, &ignored);
  }
  msift_free(&l->ctx->memory, &l->gpu);
}

mpisift_status msift_gpu_switch(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  MSIFT_TRY(g->device->get(&g->outside, error));
  return g->outside != g->number ? g->device->set(g->number, error) : MPISIFT_OK;
}

void msift_gpu_switch_back(mpisift_loader *l, struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  if (g->outside != g->number)
    g->device->set(g->outside, error);
}

void msift_gpu_enter(mpisift_loader *l, const char *call)
{
  struct msift_gpu *g = l->gpu;

  msift_gpu_switch(l, &l->failure);
  g->closed = g->broken.status != MPISIFT_OK || g->device->check_stream(g->stream, call, &l->failure) != MPISIFT_OK;
  if (g->broken.status != MPISIFT_OK)
    msift_error_set(&l->failure, g->broken.status, "%s", g->broken.text);
  g->device->check_past(call, &l->failure);
  g->calls++;
  msift_gpu_take_reports(l, false);
}

void msift_gpu_leave(mpisift_loader *l)
{
  const struct msift_gpu *g = l->gpu;

  if (g->broken.status != MPISIFT_OK)
    msift_error_set(&l->ctx->error, g->broken.status, "%s", g->broken.text);
  msift_gpu_switch_back(l, &l->failure);
}

void msift_gpu_break(mpisift_loader *l, const struct msift_error *error)
{
  struct msift_gpu *g = l->gpu;

  g->closed = true;
  msift_error_set(&g->broken, error->status, "%s", error->text);
  msift_error_set(&l->failure, error->status, "%s", error->text);
}

mpisift_status msift_gpu_ready(mpisift_loader *l)
{
  struct msift_error *error = &l->ctx->error;
  struct msift_vote vote;

  if (!msift_gpu_by_nccl(l->gpu))
    return MPISIFT_OK;
  MSIFT_TRY(msift_vote_begin(&vote, &l->ctx->team, l->failure.status != MPISIFT_OK, error));
  MSIFT_TRY(msift_vote_end(&vote, error));
  if (vote.failed == 0)
    return MPISIFT_OK;
  l->round_pending = false; /* it is done again: who failed in it may have told so now */
  l->failure_told = l->failure.status != MPISIFT_OK;
  return msift_tell_failure(l);
}
