/* Decisions, bit for bit those of core/decide.c and core/history.c: integers throughout, but for products and quotients
 * in double precision, none of which can be contracted. Blocks go over the candidates in tiles, a thread for each. */
#include <Random123/philox.h>
#include <float.h>
#include <limits.h>

#include "backend/cuda/decide.h"
#include "backend/cuda/mix.cuh"
#include "backend/cuda/tally.cuh"

constexpr uint64_t CERTAIN = UINT64_C(1) << 32;
constexpr double ONE = 4294967296.0; /* 2^32 */

/* As msift_key. */
__device__ inline uint32_t key_of(float value)
{
  uint32_t bits = __float_as_uint(value);

  bits = bits == 0x80000000u ? 0 : bits;
  return bits ^ ((0u - (bits >> 31)) | 0x80000000u);
}

__device__ inline int bin_of(const msift_cuda_bins &bins, uint32_t key)
{
  int bin = bins.top[key >> 20];

  for (int shift = 16; bin < 0; shift -= 4)
    bin = bins.split[~bin * 16 + (int)(key >> shift & 15)];
  return bin;
}

__device__ inline int64_t wrap(const msift_cuda_window &window, int64_t place)
{
  return place < window.capacity ? place : place - window.capacity;
}

__global__ void count_losses(const msift_cuda_count job, bool shared)
{
  extern __shared__ uint32_t memory[];
  tally words(job.words, job.groups + job.bins.n, shared, memory);

  for (int64_t tile = (int64_t)blockIdx.x * THREADS; tile < job.n; tile += (int64_t)gridDim.x * THREADS) {
    int64_t i = tile + threadIdx.x, place = i < job.n ? wrap(job.window, job.first + i) : 0;
    uint32_t key = i < job.n ? job.window.keys[place] : 0;

    if (job.in_groups)
      words.add(key != 0, key != 0 && job.window.groups != nullptr ? job.window.groups[place] : 0, job.change);
    if (job.in_bins)
      words.add(key != 0, key != 0 ? (int)job.groups + bin_of(job.bins, key) : 0, job.change);
  }
  words.finish();
}

struct candidate {
  bool there, good, counts; /* in the round; with good scores; in the history's words */
  float value;
  uint32_t key;
  int group, bin;
};

__device__ inline bool in_range(float value, float most)
{
  return value >= 0 && value <= most; /* false for NaN */
}

__device__ inline double reference_at(const msift_cuda_round &job, int64_t i)
{
  return job.references_f64 ? ((const double *)job.references)[i] : (double)((const float *)job.references)[i];
}

/* The policy's measure. */
__device__ inline void measure(const msift_cuda_round &job, int64_t i, candidate &c)
{
  c.value = job.losses[i];
  c.good = in_range(c.value, FLT_MAX);
  if (!c.good || job.measure == MSIFT_CUDA_MEASURE_LOSS)
    return;
  if (job.measure == MSIFT_CUDA_MEASURE_BOUND) {
    c.value = job.bounds[i];
    c.good = in_range(c.value, FLT_MAX);
  } else if (job.measure == MSIFT_CUDA_MEASURE_UNCERTAINTY) {
    c.good = in_range(job.confidences[i], 1);
    c.value = 1 - job.confidences[i];
  } else {
    c.value = (float)((double)c.value - reference_at(job, i));
    c.good = fabsf(c.value) <= FLT_MAX;
  }
}

/* Lowest rows at fault, of a thread. */
struct faults {
  unsigned long long row, group_row;
};

__device__ inline candidate find(const msift_cuda_round &job, int64_t i, faults &f)
{
  candidate c = {i < job.n, true, false, 0, 0, 0, 0};

  if (!c.there || !job.scored)
    return c;
  measure(job, i, c);
  if (!c.good) {
    f.row = smaller()(f.row, (unsigned long long)i);
    return c;
  }
  if (job.classes != nullptr) {
    c.group = job.classes[i];
    if (c.group < 0 || c.group >= job.groups) {
      f.group_row = smaller()(f.group_row, (unsigned long long)i);
      c.group = 0;
    }
  }
  c.key = key_of(c.value);
  c.bin = bin_of(job.bins, c.key);
  c.counts = job.places[i] >= job.too_old;
  return c;
}

/* Into the window and the words that count it; all threads of a warp call it. */
__device__ inline void record(const msift_cuda_round &job, int64_t i, const candidate &c, tally &words)
{
  if (c.there) {
    int64_t place = wrap(job.window, job.first + i);

    job.window.keys[place] = c.key;
    if (job.window.groups != nullptr)
      job.window.groups[place] = c.group;
  }
  if (job.groups > 0)
    words.add(c.counts, c.group, 1);
  words.add(c.counts, (int)job.groups + (c.counts && job.refitting ? bin_of(job.counting, c.key) : c.bin), 1);
}

struct verdict {
  uint64_t threshold;
  float weight;
  bool outlier;
};

__device__ inline uint64_t integer_threshold(double p)
{
  return p >= 1 ? CERTAIN : p > 0 ? (uint64_t)llround(p * ONE) : 0;
}

__device__ inline uint64_t law(const msift_cuda_terms &terms, const candidate &c)
{
  switch (terms.law) {
  case MSIFT_CUDA_LAW_BY_BIN:
    return terms.by_bin[c.bin];
  case MSIFT_CUDA_LAW_AT_LEAST:
    return (double)c.value >= terms.parameter ? CERTAIN : 0;
  case MSIFT_CUDA_LAW_PROPORTIONAL:
    return c.value > 0 ? integer_threshold(terms.parameter * (double)c.value) : 0;
  default:
    return terms.constant;
  }
}

__device__ inline bool covered(const msift_cuda_terms &terms, int64_t id)
{
  uint64_t epochs = terms.coverage_epochs;

  return epochs > 0 && (mix((uint64_t)id + 1) % epochs + terms.epoch) % epochs == 0;
}

__device__ inline float weight_of(const msift_cuda_terms &terms, uint64_t threshold)
{
  double weight;

  if (!terms.weighted || threshold == 0)
    return 1;
  weight = 1 / ((double)threshold / ONE) * terms.factor;
  return (float)(terms.clip > 0 ? fmin(weight, terms.clip) : weight);
}

__device__ inline verdict decide(const msift_cuda_round &job, int64_t i, const candidate &c)
{
  const msift_cuda_terms &terms = job.terms;
  verdict v = {CERTAIN, 1, false};

  if (!c.good)
    return {0, 1, false};
  if (!job.sifting)
    return v;
  if (!covered(terms, job.ids[i])) {
    if (terms.outliers != nullptr && terms.outliers[c.bin])
      return {0, 1, true};
    v.threshold = larger()(law(terms, c), terms.floor);
    if (terms.by_group != nullptr)
      v.threshold = larger()(v.threshold, terms.by_group[c.group]);
  }
  v.weight = weight_of(terms, v.threshold);
  return v;
}

/* As msift_accept_by. */
__device__ inline bool accept(uint32_t key, int64_t id, uint64_t threshold)
{
  philox2x32_ctr_t counter = {{(uint32_t)id, (uint32_t)((uint64_t)id >> 32)}};
  philox2x32_key_t keys = {{key}};

  return philox2x32(counter, keys).v[0] < threshold;
}

/* Places ascend: the threads of a warp that share a word are neighbours, and the first of them writes for all. */
__device__ inline void map_bit(const msift_cuda_round &job, int64_t i, bool there, bool accepted)
{
  const int lane = (int)threadIdx.x % WARP;
  int32_t place = there ? job.places[i] : -1, at = place >> 5;
  uint32_t bits = accepted ? 1u << (place & 31) : 0;
  int32_t before = __shfl_up_sync(ALL_LANES, at, 1);

  for (int step = 1; step < WARP; step *= 2) {
    uint32_t more = __shfl_down_sync(ALL_LANES, bits, step);
    int32_t other = __shfl_down_sync(ALL_LANES, at, step);

    if (other == at) /* or none: a thread's own */
      bits |= more;
  }
  if (bits != 0 && (lane == 0 || before != at))
    atomicOr(job.map + at, bits);
}

__device__ inline void map_row(const msift_cuda_round &job, int64_t i, bool there, bool accepted)
{
  if (job.holder == 0)
    map_bit(job, i, there, accepted);
  else if (there)
    atomicAdd(job.map + job.places[i], 2 * job.holder + (accepted ? 1 : 0));
}

/* One addition for a block. */
__device__ inline void add_all(uint32_t *word, uint32_t n)
{
  n = reduce({THREADS, (int)threadIdx.x}, n, added());
  if (threadIdx.x == 0 && n > 0)
    atomicAdd(word, n);
}

__device__ inline void find_lowest(int64_t *row, unsigned long long lowest)
{
  lowest = reduce({THREADS, (int)threadIdx.x}, lowest, smaller());
  if (threadIdx.x == 0 && lowest != ULLONG_MAX)
    atomicMin((unsigned long long *)(void *)row, lowest);
}

__global__ void decide_rows(const msift_cuda_round job, bool shared)
{
  extern __shared__ uint32_t memory[];
  tally words(job.changes, job.scored ? job.groups + job.counting.n : 0, shared, memory);
  uint32_t n_bad = 0, n_outliers = 0, n_accepted = 0;
  faults f = {ULLONG_MAX, ULLONG_MAX};

  for (int64_t tile = (int64_t)blockIdx.x * THREADS; tile < job.n; tile += (int64_t)gridDim.x * THREADS) {
    int64_t i = tile + threadIdx.x;
    candidate c = find(job, i, f);
    bool accepted = false;

    if (job.scored)
      record(job, i, c, words);
    if (c.there) {
      verdict v = decide(job, i, c);

      accepted = accept(job.terms.accept_key, job.ids[i], v.threshold);
      job.accepted[i] = accepted;
      job.probabilities[i] = (float)((double)v.threshold / ONE);
      job.weights[i] = v.weight;
      n_bad += !c.good;
      n_outliers += v.outlier;
      n_accepted += accepted;
    }
    map_row(job, i, c.there, accepted);
  }
  words.finish();
  add_all(job.bad, n_bad);
  add_all(job.outliers, n_outliers);
  add_all(job.accepted_count, n_accepted);
  find_lowest(&job.findings->bad_row, f.row);
  find_lowest(&job.findings->bad_group_row, f.group_row);
}

/* The score at fault: the loss, if that is. */
__device__ inline double score_at_fault(const msift_cuda_round &job, int64_t i)
{
  if (!in_range(job.losses[i], FLT_MAX) || job.measure == MSIFT_CUDA_MEASURE_LOSS)
    return (double)job.losses[i];
  if (job.measure == MSIFT_CUDA_MEASURE_BOUND)
    return (double)job.bounds[i];
  if (job.measure == MSIFT_CUDA_MEASURE_UNCERTAINTY)
    return (double)job.confidences[i];
  return reference_at(job, i);
}

__global__ void tell_findings(const msift_cuda_round job)
{
  msift_cuda_findings *f = job.findings;

  if (f->bad_row >= 0) {
    f->bad_loss = job.losses[f->bad_row];
    f->bad_value = score_at_fault(job, f->bad_row);
  }
  if (f->bad_group_row >= 0) {
    f->bad_group = job.classes[f->bad_group_row];
    *job.failed += 1;
  }
}

/* Blocks for n rows: not more than run at once, since each has a tally to begin and to finish. */
static int tiles_at_once(int64_t n, unsigned *blocks)
{
  int device = 0, processors = 0;
  cudaError_t code = cudaGetDevice(&device);

  if (code == cudaSuccess)
    code = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  *blocks = blocks_of(n, THREADS);
  if (*blocks > 4 * (unsigned)processors)
    *blocks = 4 * (unsigned)processors;
  return (int)code;
}

extern "C" int msift_cuda_launch_count(const struct msift_cuda_count *job, void *stream)
{
  size_t bytes = tally_bytes(job->groups + job->bins.n);
  unsigned blocks = 0;
  int code = tiles_at_once(job->n, &blocks);

  if (code != cudaSuccess)
    return code;
  count_losses<<<blocks, THREADS, bytes, (cudaStream_t)stream>>>(*job, bytes > 0);
  return (int)cudaGetLastError();
}

extern "C" int msift_cuda_launch_decide(const struct msift_cuda_round *job, void *stream)
{
  size_t bytes = job->scored ? tally_bytes(job->groups + job->counting.n) : 0;
  unsigned blocks = 0;
  int code = tiles_at_once(job->n, &blocks);

  if (code != cudaSuccess)
    return code;
  decide_rows<<<blocks, THREADS, bytes, (cudaStream_t)stream>>>(*job, bytes > 0);
  return (int)cudaGetLastError();
}

extern "C" int msift_cuda_launch_findings(const struct msift_cuda_round *job, void *stream)
{
  tell_findings<<<1, 1, 0, (cudaStream_t)stream>>>(*job);
  return (int)cudaGetLastError();
}
