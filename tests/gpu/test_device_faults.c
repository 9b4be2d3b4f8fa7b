/* Failures around a loader on a device are agreed, lose nothing that can be repeated, and hang nobody. */
#include <config.h>

#include "../testing.h"

#ifdef HAVE_NVCC
#include "api/device.h"
#include "on_device.h"

enum fault { NONE, IN_READ, IN_SCORE, IN_STEP, IN_DEVICE, IN_CAPTURE };

/* A world where one rank fails in one of its calls of one kind, counted over the run. */
struct faulty {
  struct world w;
  mpisift_transport transport;
  enum fault kind;
  int rank, call;
  mpisift_ctx *ctx;
  struct scorer scorer;
  int reads, scores, apart;
};

static cudaStream_t stream;

/* The table of the loader under test: the real one, but for the call that fails. */
static struct msift_device table;
static int calls, failing_call = -1, failing_stream = -1, streams_asked;
static bool failed;

static mpisift_status count_call(struct msift_error *error)
{
  if (calls++ != failing_call)
    return MPISIFT_OK;
  failed = true;
  return msift_error_set(error, MPISIFT_ERR_DEVICE, "call %d of the device fails", failing_call);
}

static mpisift_status upload_or_not(void *to, const void *from, size_t bytes, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.upload(to, from, bytes, s, error);
}

static mpisift_status download_or_not(void *to, const void *from, size_t bytes, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.download(to, from, bytes, s, error);
}

static mpisift_status fill_or_not(void *to, int byte, size_t bytes, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.fill(to, byte, bytes, s, error);
}

static mpisift_status record_or_not(void *event, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.event_record(event, s, error);
}

static mpisift_status reach_or_not(void *event, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.event_reach(event, error);
}

static mpisift_status count_or_not(const struct msift_device_count *job, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.count(job, s, error);
}

static mpisift_status decide_or_not(const struct msift_device_round *job, void *scratch, size_t bytes, void *s,
                                    struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.decide(job, scratch, bytes, s, error);
}

static mpisift_status pack_or_not(const struct msift_device_pack *job, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.pack(job, s, error);
}

static mpisift_status scatter_or_not(const struct msift_device_scatter *job, void *s, struct msift_error *error)
{
  MSIFT_TRY(count_call(error));
  return msift_device_cuda.scatter(job, s, error);
}

static mpisift_status capture_or_not(void *s, const char *call, struct msift_error *error)
{
  if (streams_asked++ == failing_stream)
    return msift_error_set(error, MPISIFT_ERR_STATE, "%s: a stream is being captured", call);
  return msift_device_cuda.check_stream(s, call, error);
}

static void set_table(void)
{
  table = msift_device_cuda;
  table.upload = upload_or_not;
  table.download = download_or_not;
  table.fill = fill_or_not;
  table.event_record = record_or_not;
  table.event_reach = reach_or_not;
  table.count = count_or_not;
  table.decide = decide_or_not;
  table.pack = pack_or_not;
  table.scatter = scatter_or_not;
  table.check_stream = capture_or_not;
  calls = streams_asked = 0;
  failing_call = failing_stream = -1;
  failed = false;
}

static int faulty_read(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  struct faulty *f = user;

  if (f->kind == IN_READ && f->rank == test_rank && f->reads++ == f->call)
    return 5;
  return world_read(&f->w, n, ids, dst);
}

static int faulty_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  struct faulty *f = user;

  f->apart += !called_together(f->scores, MPI_COMM_WORLD);
  if (f->scores++ == f->call && f->kind == IN_SCORE && f->rank == test_rank)
    return 7;
  return score_later(&f->scorer, candidates, scores);
}

static struct faulty faulty_make(int depth, enum fault kind)
{
  struct faulty f = {.w = world_make("faulty", 200, 24), .kind = kind};

  f.w.config.epochs = 2;
  f.w.config.loss_history_length = 70;
  f.w.config.pipeline_depth = depth;
  f.w.config.score_batch_size = 7;
  return f;
}

static mpisift_status create_faulty(struct faulty *f, mpisift_loader **loader)
{
  mpisift_source source = world_source(&f->w);
  mpisift_device device;

  source.user = f;
  source.read = faulty_read;
  mpisift_device_init(&device, sizeof device);
  device.stream = stream;
  device.transport = f->transport;
  f->scorer = (struct scorer){.w = &f->w, .score = world_score, .stream = stream};
  return mpisift_loader_create_cuda(f->ctx, &f->w.config, &source, faulty_score, f, &device, loader);
}

static mpisift_loader *open_faulty(struct faulty *f)
{
  mpisift_loader *loader = NULL;

  f->ctx = open_world();
  CU_ASSERT_EQUAL_FATAL(create_faulty(f, &loader), MPISIFT_OK);
  set_table();
  if (f->rank == test_rank && f->kind == IN_DEVICE)
    failing_call = f->call;
  if (f->rank == test_rank && f->kind == IN_CAPTURE)
    failing_stream = f->call;
  loader->gpu->device = &table;
  return loader;
}

static void close_faulty(struct faulty *f, mpisift_loader **loader)
{
  CU_ASSERT_EQUAL(f->apart, 0);
  failing_call = -1;
  CU_ASSERT_EQUAL(mpisift_loader_destroy(loader), MPISIFT_OK);
  CU_ASSERT_EQUAL(f->ctx->memory.blocks, 1); /* the team's */
  CU_ASSERT_EQUAL(mpisift_close(&f->ctx), MPISIFT_OK);
  scorer_free(&f->scorer);
}

static mpisift_status take_step(struct faulty *f, mpisift_loader *loader, mpisift_batch *batch, int step)
{
  bool fails = f->kind == IN_STEP && step == f->call && test_rank == f->rank;

  return fails ? mpisift_loader_fail(loader, "loss is NaN at step 4711") : mpisift_loader_next(loader, batch);
}

static void check_now(struct faulty *f, const struct oracle *o, int64_t k, const mpisift_batch *batch)
{
  mpisift_batch copy = batch_copy(batch, 1, stream);

  CU_ASSERT_EQUAL(cudaStreamSynchronize(stream), cudaSuccess);
  check_batch(&f->w, o, k, &copy, test_rank);
  batch_free(&copy);
}

/* Run to the end; errors must be `expected`, with `text`, on all ranks, and the batches those of the oracle. Returns
 * the number of errors. */
static int run_through(struct faulty *f, mpisift_loader *loader, mpisift_status expected, const char *text)
{
  struct oracle o = oracle_run(&f->w, f->w.config.epochs);
  int64_t k = 0, ended = 0;
  int errors = 0;
  mpisift_batch batch;

  for (int step = 0; ended < f->w.config.epochs && errors < 5; step++) {
    mpisift_status status = take_step(f, loader, &batch, step);

    if (status == MPISIFT_OK && k < o.cuts.n)
      check_now(f, &o, k++, &batch);
    ended += status == MPISIFT_END_OF_EPOCH;
    if (status >= 0)
      continue;
    errors++;
    CU_ASSERT_EQUAL(status, expected);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), text));
    CU_ASSERT(same_text(mpisift_error(f->ctx)));
  }
  CU_ASSERT_EQUAL(k, o.cuts.n);
  oracle_free(&o);
  return errors;
}

/* Some tests are at one depth with 2 ranks, and at the other with 4. */
static bool has_turn(int depth)
{
  return test_size == 1 || depth == test_size / 2 % 2;
}

/* Some calls of a run, others with more ranks, which take turns in failing: one error, and then all goes on as if
 * nothing had been. */
static void fail_in_some(enum fault kind, mpisift_transport transport, int step, mpisift_status expected,
                         const char *text)
{
  for (int depth = 0; depth <= 1; depth++)
    for (int call = (depth + test_size - 1) % 3, errors = transport == MPISIFT_TRANSPORT_HOST || has_turn(depth);
         errors > 0; call += step) {
      struct faulty f = faulty_make(depth, kind);
      mpisift_loader *loader;

      f.transport = transport;
      f.rank = call % test_size;
      f.call = call;
      loader = open_faulty(&f);
      errors = run_through(&f, loader, expected, text);
      CU_ASSERT(errors == 1 || (errors == 0 && call > 5));
      close_faulty(&f, &loader);
    }
}

static void callbacks_fail(void)
{
  fail_in_some(IN_READ, MPISIFT_TRANSPORT_HOST, 7, MPISIFT_ERR_CALLBACK, "reading returned 5");
  fail_in_some(IN_SCORE, MPISIFT_TRANSPORT_HOST, 11, MPISIFT_ERR_CALLBACK, "the score callback returned 7");
  fail_in_some(IN_STEP, MPISIFT_TRANSPORT_HOST, 5, MPISIFT_ERR_USER, "loss is NaN at step 4711");
}

static void callbacks_fail_by_nccl(void)
{
#ifdef HAVE_NCCL
  if (nccl_can()) {
    fail_in_some(IN_READ, MPISIFT_TRANSPORT_NCCL, 11, MPISIFT_ERR_CALLBACK, "reading returned 5");
    fail_in_some(IN_SCORE, MPISIFT_TRANSPORT_NCCL, 17, MPISIFT_ERR_CALLBACK, "the score callback returned 7");
    fail_in_some(IN_STEP, MPISIFT_TRANSPORT_NCCL, 7, MPISIFT_ERR_USER, "loss is NaN at step 4711");
    fail_in_some(IN_CAPTURE, MPISIFT_TRANSPORT_NCCL, 7, MPISIFT_ERR_STATE, "being captured");
  }
#endif
  CU_PASS("or this build has no NCCL, or there are too few devices");
}

static void streams_are_captured(void)
{
  fail_in_some(IN_CAPTURE, MPISIFT_TRANSPORT_HOST, 5, MPISIFT_ERR_STATE, "being captured");
}

static int ranks_where(bool what)
{
  int n = what;

  MPI_Allreduce(MPI_IN_PLACE, &n, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  return n;
}

/* A call in which the device may refuse. Returns whether the loader is at its end: what was lost could not be repeated.
 * Then all have an error from the next call on, if not from this one. */
static bool step_to_end(struct faulty *f, mpisift_loader *loader, const struct oracle *o, int64_t *k)
{
  mpisift_batch batch;
  mpisift_status status = mpisift_loader_next(loader, &batch);
  int errors = ranks_where(status == MPISIFT_ERR_DEVICE);
  int broken = ranks_where(loader->gpu->broken.status != MPISIFT_OK);

  CU_ASSERT(status == MPISIFT_OK || status == MPISIFT_END_OF_EPOCH || status == MPISIFT_ERR_DEVICE);
  CU_ASSERT(errors == 0 || errors == test_size || broken == 1);
  if (errors == test_size)
    CU_ASSERT(same_text(mpisift_error(f->ctx)));
  for (int again = 0; again < 2 && broken > 0; again++)
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_DEVICE);
  if (status == MPISIFT_OK && broken == 0)
    check_now(f, o, (*k)++, &batch);
  return broken > 0;
}

/* The device refuses one call. Returns whether there was such a call. */
static bool device_fails_once(int depth, int call)
{
  struct faulty f = faulty_make(depth, IN_DEVICE);
  struct oracle o = oracle_run(&f.w, f.w.config.epochs);
  mpisift_loader *loader;
  bool ended = false;
  int64_t k = 0;

  f.rank = call % test_size;
  f.call = call;
  loader = open_faulty(&f);
  for (int step = 0; step < 9 && !ended; step++)
    ended = step_to_end(&f, loader, &o, &k);
  CU_ASSERT(ended || k > 5);
  close_faulty(&f, &loader);
  oracle_free(&o);
  return ranks_where(failed) > 0;
}

static void device_fails(void)
{
  for (int depth = 0; depth <= 1; depth++) {
    int call = test_size / 2;

    while (has_turn(depth) && device_fails_once(depth, call))
      call += 1 + call / 3;
    CU_ASSERT(call > 40 || !has_turn(depth));
  }
}

/* Each allocation of one rank fails in turn: in the creation, */
static void creation_without_memory(void)
{
  bool made = false;

  for (int k = 1; !made; k += 1 + k / 8) {
    struct faulty f = faulty_make(0, NONE);
    mpisift_loader *loader = NULL;
    mpisift_status status;

    f.ctx = open_world();
    if (test_rank == test_size - 1)
      f.ctx->memory.fail_after = k;
    status = create_faulty(&f, &loader);
    made = status == MPISIFT_OK;
    if (!made)
      CU_ASSERT(status == MPISIFT_ERR_MEMORY && f.ctx->memory.blocks == 1);
    CU_ASSERT(same_text(mpisift_error(f.ctx)));
    CU_ASSERT_EQUAL(mpisift_loader_destroy(&loader), MPISIFT_OK);
    CU_ASSERT_EQUAL(mpisift_close(&f.ctx), MPISIFT_OK);
    CU_ASSERT(made || k < 1000);
  }
}

/* and in the run, where a repeated call succeeds. */
static void rounds_without_memory(void)
{
  int errors = 0;

  for (int depth = 0; depth <= 1; depth++)
    for (int k = 1 + test_size / 2; k < 24; k += 5) {
      struct faulty f = faulty_make(depth, NONE);
      mpisift_loader *loader = open_faulty(&f);

      if (test_rank == 0)
        f.ctx->memory.fail_after = k;
      errors += run_through(&f, loader, MPISIFT_ERR_MEMORY, "cannot allocate");
      close_faulty(&f, &loader);
    }
  CU_ASSERT(errors > 4);
}

static void destroyed_in_flight(void)
{
  for (int steps = 0; steps < 9; steps += 3)
    for (int depth = 0; depth <= 1; depth++) {
      struct faulty f = faulty_make(depth, NONE);
      mpisift_loader *loader = open_faulty(&f);
      mpisift_batch batch;

      for (int k = 0; k < steps; k++)
        CU_ASSERT(mpisift_loader_next(loader, &batch) >= 0);
      close_faulty(&f, &loader);
    }
}

static float bad_value;
static int64_t bad_every;
static int32_t wrong_group;

static int bad_score(void *user, const mpisift_batch *candidates, const mpisift_scores *scores)
{
  world_score(user, candidates, scores);
  for (int64_t i = 0; i < candidates->valid; i++) {
    if (bad_every > 0 && candidates->ids[i] % bad_every == 0)
      scores->loss[i] = bad_value;
    if (bad_every > 0 && candidates->ids[i] % bad_every == 1)
      scores->group[i] = wrong_group < 0 ? scores->group[i] : wrong_group;
  }
  return 0;
}

/* Rounds with scores that cannot be are errors that name one, by each transport, until the model recovers. */
static void bad_scores(mpisift_transport transport, float value, int32_t group, const char *text)
{
  struct faulty f = faulty_make(0, NONE);
  mpisift_loader *loader;
  mpisift_batch batch;
  struct oracle o;

  f.w.config.groups = WORLD_GROUPS;
  f.w.config.class_floor = 0.1;
  f.transport = transport;
  o = oracle_run(&f.w, 1);
  loader = open_faulty(&f);
  f.scorer.score = bad_score;
  bad_value = value;
  wrong_group = group;
  bad_every = 3;
  for (int again = 0; again < 2; again++) {
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_ERR_DATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), text));
    CU_ASSERT(same_text(mpisift_error(f.ctx)));
  }
  bad_every = 0;
  for (int64_t k = 0; k < 3; k++) {
    CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
    check_now(&f, &o, k, &batch);
  }
  close_faulty(&f, &loader);
  oracle_free(&o);
}

static void scores_are_bad(void)
{
  mpisift_transport last = MPISIFT_TRANSPORT_HOST;

#ifdef HAVE_NCCL
  last = nccl_can() ? MPISIFT_TRANSPORT_NCCL : last;
#endif
  for (mpisift_transport t = MPISIFT_TRANSPORT_HOST; t <= last; t += MPISIFT_TRANSPORT_NCCL) {
    bad_scores(t, NAN, -1, "has loss");
    bad_scores(t, -INFINITY, -1, "has loss -inf");
    bad_scores(t, 1, 77, "has group 77; config.groups is 5");
  }
}

/* The device that is current for the caller is so again; a loader works on its own. */
static int current, set_to[8], n_set;

static mpisift_status get_other(int *device, struct msift_error *error)
{
  (void)error;
  *device = current;
  return MPISIFT_OK;
}

static mpisift_status set_other(int device, struct msift_error *error)
{
  (void)error;
  current = device;
  set_to[n_set++ % 8] = device;
  return MPISIFT_OK;
}

static void device_stays(void)
{
  struct faulty f = faulty_make(0, NONE);
  mpisift_loader *loader = open_faulty(&f);
  int own = loader->gpu->number;
  mpisift_batch batch;

  table.get = get_other;
  table.set = set_other;
  current = own + 5;
  n_set = 0;
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT(n_set == 2 && set_to[0] == own && set_to[1] == own + 5 && current == own + 5);
  CU_ASSERT_EQUAL(mpisift_loader_fail(loader, "here"), MPISIFT_ERR_USER);
  CU_ASSERT(n_set == 4 && current == own + 5);
  current = own;
  CU_ASSERT_EQUAL(mpisift_loader_next(loader, &batch), MPISIFT_OK);
  CU_ASSERT_EQUAL(n_set, 4);
  close_faulty(&f, &loader);
}

/* What is not to be had on a device, and what is no device. */
static void refused(struct world w, mpisift_device device, mpisift_status expected, const char *text)
{
  mpisift_source source = world_source(&w);
  mpisift_ctx *ctx = open_world();
  mpisift_loader *loader = NULL;

  CU_ASSERT_EQUAL(mpisift_loader_create_cuda(ctx, &w.config, &source, world_score, &w, &device, &loader), expected);
  CU_ASSERT_PTR_NULL(loader);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(ctx), text));
  CU_ASSERT(same_text(mpisift_error(ctx)));
  CU_ASSERT_EQUAL(ctx->memory.blocks, 1);
  CU_ASSERT_EQUAL(mpisift_close(&ctx), MPISIFT_OK);
}

static void wrong_arguments(void)
{
  struct world w = world_make("wrong", 200, 24);
  mpisift_device device, uninitialised = {0}, other;

  mpisift_device_init(&device, sizeof device);
  refused(w, uninitialised, MPISIFT_ERR_ARG, "mpisift_device_init");
  other = device;
  other.transport = (mpisift_transport)7;
  refused(w, other, MPISIFT_ERR_ARG, "device.transport is 7");
  other.transport = MPISIFT_TRANSPORT_CUDA_AWARE;
  refused(w, other, MPISIFT_ERR_DEVICE, "MPISIFT_TRANSPORT_CUDA_AWARE");
  if (test_size > 1) {
    other.transport = test_rank == 1 ? MPISIFT_TRANSPORT_CUDA_AWARE : MPISIFT_TRANSPORT_HOST;
    refused(w, other, MPISIFT_ERR_ARG, "device.transport differs");
  }
  w.config.exact_history = true;
  refused(w, device, MPISIFT_ERR_ARG, "config.exact_history");
  w.config.exact_history = false;
  w.config.policy = "stale_relative";
  refused(w, device, MPISIFT_ERR_ARG, "stale losses");
}

static int setup(void)
{
  return cudaStreamCreate(&stream) == cudaSuccess;
}

static const test_case cases[] = {{"callbacks fail", callbacks_fail},
                                  {"callbacks fail, by NCCL", callbacks_fail_by_nccl},
                                  {"streams are captured", streams_are_captured},
                                  {"device fails", device_fails},
                                  {"creation without memory", creation_without_memory},
                                  {"rounds without memory", rounds_without_memory},
                                  {"destroyed in flight", destroyed_in_flight},
                                  {"scores are bad", scores_are_bad},
                                  {"device stays", device_stays},
                                  {"wrong arguments", wrong_arguments}};

int main(int argc, char **argv)
{
  if (have_device() && setup())
    return test_main(argc, argv, "device faults", cases, sizeof cases / sizeof *cases);
  printf("SKIPPED: no CUDA device, and no stand-in for one\n");
  return 77;
}
#else
int main(void)
{
  printf("SKIPPED: this build has no nvcc\n");
  return 77;
}
#endif
