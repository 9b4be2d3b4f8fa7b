/* A row of logits by 4, 8 or 32 threads, or by a block, as its width asks. Which thread takes which columns depends on
 * the width alone, and so do the bits of a result. */
#include <float.h>
#include <math.h>

#include "backend/cuda/load.cuh"

/* See struct rows of the CPU kernels: sums over all classes but the label. */
struct row_sums {
  double top, sum, squares, moment;
  double logit;                   /* of the label */
  double target, rest, dot, self; /* its weight; those of others, with their logits; y log y */
};

__device__ inline double softplus(double x)
{
  return fmax(x, 0.0) + log1p(exp(-fabs(x))) + (x - x);
}

/* Threads of a row go over it in groups of 16 bytes. */
template <typename T> struct group {
  enum { COUNT = 16 / sizeof(T) };
  alignas(16) T values[COUNT];
};

template <typename T> __device__ inline group<T> load_group(const T *x, int64_t n, bool aligned)
{
  group<T> g;

  if (aligned && n >= group<T>::COUNT)
    *(uint4 *)(void *)g.values = *(const uint4 *)(const void *)x;
  else
    for (int k = 0; k < group<T>::COUNT; k++)
      g.values[k] = x[k < n ? k : 0];
  return g;
}

/* A thread's part of a row's softmax. */
template <typename A> struct partial {
  A top, sum, squares, moment;
};

template <typename A, bool MORE> __device__ inline void add_values(partial<A> &p, const A *x, int n)
{
  A top = p.top, factor, rise;

  for (int k = 0; k < n; k++)
    top = x[k] > top ? x[k] : top;
  if (top > p.top) {
    rise = top - p.top;
    factor = exp(-rise);
    if (MORE) {
      p.moment = p.sum > 0 ? (p.moment - rise * p.sum) * factor : 0;
      p.squares *= factor * factor;
    }
    p.sum *= factor;
    p.top = top;
  }
  for (int k = 0; k < n; k++) {
    A d = x[k] - top, e = exp(d);

    p.sum += e;
    if (MORE) {
      p.squares += e * e;
      p.moment += e * (d < -87 ? -87 : d);
    }
  }
}

template <typename T, bool MORE>
__device__ inline partial<typename arithmetic<T>::real> add_row(const T *x, int64_t columns, int64_t label,
                                                                bool aligned, const team &t)
{
  typedef typename arithmetic<T>::real A;
  const int count = group<T>::COUNT;
  partial<A> p = {sizeof(A) == 8 ? (A)-DBL_MAX : (A)-FLT_MAX, 0, 0, 0};

  for (int64_t first = (int64_t)t.lane * count; first < columns; first += (int64_t)t.size * count) {
    int n = columns - first < count ? (int)(columns - first) : count;
    group<T> g = load_group(x + first, n, aligned);
    A values[count];

    for (int k = 0; k < count; k++)
      values[k] = k >= n || first + k == label ? (A)-INFINITY : value_of(g.values[k]);
    add_values<A, MORE>(p, values, count);
  }
  return p;
}

/* The class of the largest target, the first of several. */
__device__ inline int64_t largest_target(const msift_cuda_losses &job, int64_t row, const team &t)
{
  double most = -INFINITY;
  int64_t label = job.columns;

  for (int64_t c = t.lane; c < job.columns; c += t.size) {
    double y = number_at(job.targets, row * job.targets.stride + c);

    if (y > most) {
      most = y;
      label = c;
    }
  }
  if (most < reduce(t, most, larger()))
    label = job.columns;
  label = reduce(t, label, smaller());
  return label < job.columns ? label : 0;
}

/* What a target other than a weighted label asks for. */
__device__ inline void add_target(const msift_cuda_losses &job, int64_t row, int64_t label, const team &t, row_sums &s)
{
  const double spread = job.label_smoothing / (double)job.columns, kept = 1 - job.label_smoothing;
  double rest = 0, dot = 0, self = 0, target = 0;

  for (int64_t c = t.lane; c < job.columns; c += t.size) {
    double y = job.labels ? c == label : number_at(job.targets, row * job.targets.stride + c);
    double w = weight_at(job.class_weights, c), share = w * (kept * y + spread);

    if (job.kind == MSIFT_CUDA_KL && y > 0)
      self += w * y * log(y);
    if (c == label)
      target = share;
    else {
      rest += share;
      dot += share == 0 ? 0 : share * number_at(job.logits, row * job.logits.stride + c);
    }
  }
  s.target = reduce(t, target, added());
  s.rest = reduce(t, rest, added());
  s.dot = reduce(t, dot, added());
  s.self = reduce(t, self, added());
}

template <typename T, bool MORE>
__device__ inline row_sums sum_row(const msift_cuda_losses &job, int64_t row, int64_t label, bool aligned,
                                   const team &t)
{
  typedef typename arithmetic<T>::real A;
  const T *x = (const T *)job.logits.data + row * job.logits.stride;
  partial<A> p = add_row<T, MORE>(x, job.columns, label, aligned, t);
  A top = reduce(t, p.top, larger()), rise = top - p.top, factor = exp(-rise);
  row_sums s = {top <= (A)-FLT_MAX ? -INFINITY : (double)top, 0, 0, 0, (double)value_of(x[label]), 1, 0, 0, 0};

  s.target = weight_at(job.class_weights, label);
  s.sum = reduce(t, (double)(p.sum * factor), added());
  if (MORE) {
    s.squares = reduce(t, (double)(p.squares * factor * factor), added());
    s.moment = reduce(t, p.sum > 0 && factor > 0 ? (double)((p.moment - rise * p.sum) * factor) : 0.0, added());
  }
  if (!job.labels || job.label_smoothing > 0)
    add_target(job, row, label, t, s);
  return s;
}

/* As the CPU's: the larger of the label and the others' largest is the reference. */
struct finished {
  double scale, less, gap, wrong, total, log_total, nll, bad;
  bool above;
};

__device__ inline finished finish(const row_sums &s)
{
  finished f;
  double e;

  f.less = s.logit - s.top;
  f.above = f.less > 0;
  e = exp(-fabs(f.less));
  f.scale = f.above ? e : 1;
  f.wrong = f.above && isinf(f.less) ? 0 : f.scale * s.sum;
  f.total = f.wrong + (f.above ? 1 : e);
  f.log_total = log1p(f.above ? f.wrong : (s.sum - 1) + e);
  f.bad = s.sum * 0 + (s.logit < INFINITY ? 0 : s.logit - s.logit);
  f.nll = (s.logit == -INFINITY ? INFINITY : (f.above ? 0 : -f.less) + f.log_total) + f.bad;
  f.gap = fmin(fabs(f.less), 708.0) + (f.less != f.less ? f.less : 0);
  return f;
}

__device__ inline double loss_of(const msift_cuda_losses &job, const row_sums &s, const finished &f)
{
  double tail = 0;

  if (job.kind == MSIFT_CUDA_NLL)
    return -(s.target * s.logit);
  if (job.kind == MSIFT_CUDA_FOCAL)
    return s.target == 0 ? 0 : s.target * f.nll * pow(f.wrong / f.total, job.focal_gamma);
  if (s.rest != 0 && !isinf(f.nll))
    tail = s.rest * s.logit - s.dot;
  return (s.target + s.rest == 0 ? 0 : (s.target + s.rest) * f.nll) + tail + s.self;
}

template <bool MORE> __device__ inline void put_row(const msift_cuda_losses &job, int64_t row, const row_sums &s)
{
  finished f = finish(s);
  double moment = f.scale * s.moment - f.gap * (f.above ? f.wrong : f.total - f.wrong);
  float *const *to = job.scores;

  if (to[MSIFT_CUDA_LOSS] != nullptr)
    to[MSIFT_CUDA_LOSS][row] = (float)loss_of(job, s, f);
  if (!MORE)
    return;
  if (to[MSIFT_CUDA_BOUND] != nullptr)
    to[MSIFT_CUDA_BOUND][row] = (float)(sqrt(f.scale * f.scale * s.squares + f.wrong * f.wrong) / f.total + f.bad);
  if (to[MSIFT_CUDA_CONFIDENCE] != nullptr)
    to[MSIFT_CUDA_CONFIDENCE][row] = (float)(1 / f.total + f.bad);
  if (to[MSIFT_CUDA_ENTROPY] != nullptr)
    to[MSIFT_CUDA_ENTROPY][row] = (float)(f.log_total - moment / f.total + f.bad);
  if (to[MSIFT_CUDA_MARGIN] != nullptr)
    to[MSIFT_CUDA_MARGIN][row] = (float)(f.less + f.bad);
  if (to[MSIFT_CUDA_CORRECT] != nullptr)
    to[MSIFT_CUDA_CORRECT][row] = f.less + f.bad > 0 ? 1 : 0;
}

__device__ inline void put_all(const msift_cuda_losses &job, int64_t row, float value)
{
  for (int k = 0; k < MSIFT_CUDA_SCORES; k++)
    if (job.scores[k] != nullptr)
      job.scores[k][row] = value;
}

__device__ inline double column_term(const msift_cuda_losses &job, double x, double y, double pos, double label_logit)
{
  double d = x - y, size = fabs(d);

  switch (job.kind) {
  case MSIFT_CUDA_BCE:
    return y * pos * softplus(-x) + (1 - y) * softplus(x);
  case MSIFT_CUDA_FOCAL:
    return y * pos * softplus(-x) * exp(-job.focal_gamma * softplus(x)) +
           (1 - y) * softplus(x) * exp(-job.focal_gamma * softplus(-x));
  case MSIFT_CUDA_MSE:
    return d * d;
  case MSIFT_CUDA_L1:
    return size;
  case MSIFT_CUDA_HUBER:
    return size <= job.huber_delta ? 0.5 * d * d : job.huber_delta * (size - 0.5 * job.huber_delta);
  default:
    d = job.labels ? (x - label_logit) + 1 : 1 - x * y;
    return d < 0 ? 0 : d;
  }
}

/* The mean of a row's terms. */
__device__ inline double column_mean(const msift_cuda_losses &job, int64_t row, int64_t label, const team &t)
{
  double sum = 0, label_logit = job.labels ? number_at(job.logits, row * job.logits.stride + label) : 0;

  for (int64_t c = t.lane; c < job.columns; c += t.size) {
    double x = number_at(job.logits, row * job.logits.stride + c);
    double y = job.labels ? 0 : number_at(job.targets, row * job.targets.stride + c);
    double term = column_term(job, x, y, weight_at(job.pos_weights, c), label_logit);

    if (!job.labels)
      sum += weight_at(job.class_weights, c) * term;
    else if (c != label)
      sum += term;
  }
  sum = reduce(t, sum, added());
  return sum * (job.labels ? weight_at(job.class_weights, label) : 1) / (double)job.columns;
}

__device__ inline int64_t row_label(const msift_cuda_losses &job, int64_t row)
{
  return label_at(job.targets, row / job.tokens * job.targets.stride + row % job.tokens);
}

/* A team's row. Teams behind the last one do that again, since a block reduces together, and write nothing. Those whose
 * row does not count, or has no valid label, work on class 0 for the same reason. */
struct place {
  team t;
  int64_t row, label;
  bool writes, counts, valid;
};

__device__ inline place find_place(const msift_cuda_losses &job, int size)
{
  place p = {{size, (int)threadIdx.x % size},
             (int64_t)blockIdx.x * (THREADS / size) + threadIdx.x / size,
             0,
             false,
             true,
             true};

  p.writes = p.row < job.n * job.tokens && p.t.lane == 0;
  p.row = p.row < job.n * job.tokens ? p.row : job.n * job.tokens - 1;
  if (!job.labels)
    return p;
  p.label = row_label(job, p.row);
  p.counts = !job.ignore || p.label != job.ignore_index;
  p.valid = p.label >= 0 && p.label < job.columns;
  if (p.writes && job.group != nullptr)
    job.group[p.row] = p.counts ? (int32_t)p.label : 0;
  p.label = p.valid ? p.label : 0;
  return p;
}

template <typename T, bool MORE> __global__ void softmax_rows(const msift_cuda_losses job, int size, bool aligned)
{
  place p = find_place(job, size);
  row_sums s;

  if (!job.labels)
    p.label = largest_target(job, p.row, p.t);
  s = sum_row<T, MORE>(job, p.row, p.label, aligned, p.t);
  if (p.writes && p.counts && p.valid)
    put_row<MORE>(job, p.row, s);
  else if (p.writes)
    put_all(job, p.row, p.counts ? NAN : 0);
}

__global__ void column_rows(const msift_cuda_losses job, int size)
{
  place p = find_place(job, size);
  double mean = column_mean(job, p.row, p.label, p.t);

  if (p.writes && job.scores[MSIFT_CUDA_LOSS] != nullptr)
    job.scores[MSIFT_CUDA_LOSS][p.row] = !p.counts ? 0 : p.valid ? (float)mean : NAN;
}

/* Threads for a row of so many groups of columns. */
static int team_size(int64_t groups)
{
  return groups <= 4 ? 4 : groups <= 16 ? 8 : groups <= 512 ? WARP : THREADS;
}

template <typename T> static int launch_softmax(const msift_cuda_losses &job, bool more, cudaStream_t stream)
{
  const int64_t count = group<T>::COUNT;
  int size = team_size((job.columns + count - 1) / count);
  unsigned blocks = blocks_of(job.n * job.tokens, THREADS / size);
  bool aligned = (uintptr_t)job.logits.data % 16 == 0 && job.logits.stride % count == 0;

  if (more)
    softmax_rows<T, true><<<blocks, THREADS, 0, stream>>>(job, size, aligned);
  else
    softmax_rows<T, false><<<blocks, THREADS, 0, stream>>>(job, size, aligned);
  return (int)cudaGetLastError();
}

static int launch_columns(const msift_cuda_losses &job, cudaStream_t stream)
{
  int size = team_size((job.columns + 3) / 4);

  column_rows<<<blocks_of(job.n * job.tokens, THREADS / size), THREADS, 0, stream>>>(job, size);
  return (int)cudaGetLastError();
}

extern "C" int msift_cuda_launch_rows(const struct msift_cuda_losses *job, void *to_stream)
{
  cudaStream_t stream = (cudaStream_t)to_stream;
  bool more = false;

  for (int k = MSIFT_CUDA_BOUND; k < MSIFT_CUDA_SCORES; k++)
    more = more || job->scores[k] != nullptr;
  if (job->kind > MSIFT_CUDA_KL || (job->kind == MSIFT_CUDA_FOCAL && !job->labels))
    return launch_columns(*job, stream);
  switch (job->logits.type) {
  case MSIFT_CUDA_F64:
    return launch_softmax<double>(*job, more, stream);
  case MSIFT_CUDA_F16:
    return launch_softmax<__half>(*job, more, stream);
  case MSIFT_CUDA_BF16:
    return launch_softmax<__nv_bfloat16>(*job, more, stream);
  default:
    return launch_softmax<float>(*job, more, stream);
  }
}
