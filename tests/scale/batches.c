/* One run of a loader over synthetic samples, at any number of ranks: the digest of its global batches, what it moved,
 * and the time. tests/scale/smpi.sh runs it on a simulated cluster, compares digests and names the columns.
 *
 *   batches [-p policy] [-d depth] [-g global batch] [-n samples] [-e epochs] [-b bytes of a sample]
 *
 * Fails where a rank gets less than its quota or a wrong sample, or a batch takes more than ranks - 1 messages. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpisift/mpisift.h>

enum { MAX_STEPS = 4096 };

struct job {
  mpisift_config config;
  mpisift_source source;
  mpisift_field field;
  int rank, ranks;
};

struct result {
  uint64_t digest; /* of this rank's rows */
  int64_t wrong;   /* rules broken on this rank */
  double seconds;
  mpisift_stats before, after; /* what is counted */
};

/* What this rank sent and reduced. */
static int64_t sends_of_step[MAX_STEPS], sends, sent_bytes, reduced_bytes;

static int64_t type_bytes(MPI_Datatype type, int n)
{
  int size;

  MPI_Type_size(type, &size);
  return (int64_t)size * n;
}

/* MPI's profiling interface: these stand before MPI's functions. */
int MPI_Isend(const void *data, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
  sends++;
  sent_bytes += type_bytes(type, n);
  return PMPI_Isend(data, n, type, to, tag, comm, request);
}

int MPI_Allreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
  reduced_bytes += type_bytes(type, n);
  return PMPI_Allreduce(from, to, n, type, op, comm);
}

int MPI_Iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm, MPI_Request *request)
{
  reduced_bytes += type_bytes(type, n);
#ifdef ON_SMPI /* whose own sends from every rank to every other */
  *request = MPI_REQUEST_NULL;
  return PMPI_Allreduce(from, to, n, type, op, comm);
#else
  return PMPI_Iallreduce(from, to, n, type, op, comm, request);
#endif
}

#ifdef ON_SMPI
/* SMPI 3.32 says so of rank 0 only. */
int MPI_Is_thread_main(int *flag)
{
  *flag = 1;
  return MPI_SUCCESS;
}
#endif

/* The finaliser of SplitMix64. */
static uint64_t mix(uint64_t x)
{
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static int read_samples(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  size_t bytes = mpisift_field_bytes(user);

  for (int64_t i = 0; i < n; i++)
    memset((unsigned char *)dst[0] + (size_t)i * bytes, (int)(ids[i] % 251), bytes);
  return 0;
}

/* Losses over four octaves, by id and epoch, that fall from epoch to epoch. */
static int score(void *user, const mpisift_batch *b, const mpisift_scores *scores)
{
  (void)user;
  for (int64_t i = 0; i < b->valid; i++) {
    uint64_t bits = mix((uint64_t)b->ids[i] * 977 + (uint64_t)b->epoch + 5);

    scores->loss[i] = (float)(1 + (bits >> 40)) * 0x1p-24F * (float)(1 + (bits & 15)) / (float)(1 + b->epoch);
  }
  return 0;
}

/* Every row counts with its place in the run; sums do not depend on which rank has it. */
static uint64_t batch_digest(const mpisift_batch *b)
{
  uint64_t digest = 0;

  for (int64_t i = 0; i < b->valid; i++)
    digest += mix(mix(mix((uint64_t)b->serial + 1) + (uint64_t)b->slots[i]) + (uint64_t)b->ids[i]);
  return digest;
}

static int64_t wrong_batch(const struct job *job, const mpisift_batch *b)
{
  int64_t quota = b->global_n / job->ranks + (job->rank < b->global_n % job->ranks), wrong = b->valid != quota;
  size_t bytes = mpisift_field_bytes(&job->field);

  for (int64_t i = 0; i < b->valid; i++)
    wrong += ((const unsigned char *)b->data[0])[(size_t)i * bytes + bytes / 2] != b->ids[i] % 251;
  return wrong;
}

static void reset_counts(struct result *r, mpisift_loader *loader)
{
  memset(sends_of_step, 0, sizeof sends_of_step);
  sends = sent_bytes = reduced_bytes = 0;
  r->before = mpisift_loader_stats(loader, MPISIFT_RUN);
  r->seconds = -MPI_Wtime();
}

/* The first batch fills the history and is not sifted: it is checked, but not counted. */
static void run(const struct job *job, mpisift_loader *loader, struct result *r)
{
  int64_t ended = 0, step = 0;
  mpisift_batch batch;

  while (ended < job->config.epochs) {
    int64_t before = sends;
    mpisift_status status = mpisift_loader_next(loader, &batch);

    if (status == MPISIFT_END_OF_EPOCH) {
      ended++;
      continue;
    }
    if (status != MPISIFT_OK || step == MAX_STEPS) {
      r->wrong++;
      break;
    }
    r->digest += batch_digest(&batch);
    r->wrong += wrong_batch(job, &batch);
    sends_of_step[step++] = sends - before;
    if (step == 1)
      reset_counts(r, loader);
  }
  r->seconds += MPI_Wtime();
  r->after = mpisift_loader_stats(loader, MPISIFT_RUN);
}

static void print(const struct job *job, const struct result *r, const int64_t *sums)
{
  double steps = (double)(r->after.steps - r->before.steps);

  printf("%-9s %5d %6d %6" PRId64 "  %016" PRIx64 " %6.2f %9.1f %10.0f %10.0f %9.1f\n", job->config.policy,
         job->config.pipeline_depth, job->ranks, r->after.steps, r->digest,
         100.0 * (double)(r->after.moved - r->before.moved) / (double)(r->after.trained - r->before.trained),
         (double)sums[0] / steps, (double)sums[1] / steps, (double)reduced_bytes / steps, 1e6 * r->seconds / steps);
}

/* At depth 1 a call may send for its own batch and for the next. */
static void gather(const struct job *job, struct result *r)
{
  int64_t sums[2] = {sends, sent_bytes}, most = (int64_t)(1 + job->config.pipeline_depth) * (job->ranks - 1);

  PMPI_Allreduce(MPI_IN_PLACE, sends_of_step, MAX_STEPS, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  PMPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  PMPI_Allreduce(MPI_IN_PLACE, &r->digest, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  PMPI_Allreduce(MPI_IN_PLACE, &r->seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  for (int64_t k = 0; k < r->after.steps; k++)
    r->wrong += sends_of_step[k] > most;
  r->wrong += sums[0] > r->after.steps * (job->ranks - 1);
  PMPI_Allreduce(MPI_IN_PLACE, &r->wrong, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  if (job->rank == 0)
    print(job, r, sums);
}

static mpisift_status measure(const struct job *job, mpisift_ctx *ctx, struct result *r)
{
  mpisift_loader *loader;
  mpisift_status status = mpisift_loader_create(ctx, &job->config, &job->source, score, NULL, &loader);

  if (status != MPISIFT_OK)
    return status;
  run(job, loader, r);
  gather(job, r);
  return mpisift_loader_destroy(&loader);
}

static int read_options(struct job *job, int argc, char **argv)
{
  int64_t bytes = 64;

  mpisift_config_init(&job->config, sizeof job->config);
  job->config.beta = 2;
  job->config.keep = 1.0 / 3;
  job->config.global_batch_size = 8192;
  job->config.epochs = 2;
  job->config.lanes = 8192; /* as many ranks are possible, with the same batches */
  job->source = (mpisift_source){.n = 131072, .block = 1, .n_fields = 1, .read = read_samples};
  optind = 1; /* on SMPI all ranks share the C library */
  for (int option; (option = getopt(argc, argv, "p:d:g:n:e:b:")) != -1;)
    switch (option) {
    case 'p':
      job->config.policy = optarg;
      break;
    case 'd':
      job->config.pipeline_depth = atoi(optarg);
      break;
    case 'g':
      job->config.global_batch_size = atoll(optarg);
      break;
    case 'n':
      job->source.n = atoll(optarg);
      break;
    case 'e':
      job->config.epochs = atoll(optarg);
      break;
    case 'b':
      bytes = atoll(optarg);
      break;
    default:
      return 1;
    }
  job->config.loss_history_length = job->config.global_batch_size;
  job->field = (mpisift_field){"x", MPISIFT_U8, 1, {bytes}};
  job->source.fields = &job->field;
  job->source.user = &job->field;
  return 0;
}

int main(int argc, char **argv)
{
  struct job job = {0};
  struct result result = {0};
  mpisift_ctx *ctx = NULL;
  int failed = 1;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &job.ranks);
  if (read_options(&job, argc, argv) == 0 &&
      mpisift_open(&(mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0}, NULL, NULL, 0, &ctx) == MPISIFT_OK) {
    failed = measure(&job, ctx, &result) != MPISIFT_OK || result.wrong != 0;
    if (failed && job.rank == 0)
      fprintf(stderr, "batches: %" PRId64 " rules broken; %s\n", result.wrong, mpisift_error(ctx));
    mpisift_close(&ctx);
  }
  MPI_Finalize();
  return failed;
}
