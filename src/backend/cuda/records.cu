/* Samples from rows to records and back: a record by 8 or 32 threads or by a block, and a wide one by a block for each
 * CHUNK of its bytes. */
#include "backend/cuda/copy.cuh"
#include "backend/cuda/mix.cuh"
#include "backend/cuda/records.h"

enum { CHUNK = AHEAD * 16 * THREADS };

/* A team's part of a record. */
struct piece {
  team t;
  int64_t record;
  size_t begin, end; /* bytes of the record */
};

__device__ inline piece find_piece(int size)
{
  piece p = {{size, (int)threadIdx.x % size}, (int64_t)blockIdx.x * (THREADS / size) + (int)threadIdx.x / size, 0, 0};

  p.begin = (size_t)blockIdx.y * CHUNK;
  p.end = p.begin + CHUNK;
  return p;
}

/* A row's fields between their arrays and a record, as far as they are in the piece. */
template <bool TO_RECORD>
__device__ inline void copy_fields(const msift_cuda_rows &rows, int64_t row, unsigned char *record, const piece &p)
{
  size_t offset = sizeof(msift_cuda_tag);

  for (int f = 0; f < rows.n; offset += rows.bytes[f++]) {
    size_t begin = p.begin > offset ? p.begin : offset;
    size_t end = p.end < offset + rows.bytes[f] ? p.end : offset + rows.bytes[f];
    unsigned char *field = rows.fields[f] + (size_t)row * rows.bytes[f] + (begin - offset);

    if (begin < end && TO_RECORD)
      copy_bytes(record + begin, field, end - begin, p.t);
    else if (begin < end)
      copy_bytes(field, record + begin, end - begin, p.t);
  }
}

/* Each of four threads writes 8 bytes of the tag. */
__device__ inline void put_tag(const msift_cuda_pack &job, int64_t row, unsigned char *record, int lane)
{
  const float nan = __int_as_float(0x7fc00000); /* the host's */

  if (lane == 0)
    ((int64_t *)(void *)record)[0] = job.ids[row];
  else if (lane == 1)
    ((int64_t *)(void *)record)[1] = job.epoch;
  else if (lane == 2)
    ((float2 *)(void *)record)[2] = {job.losses == nullptr ? nan : job.losses[row], job.probabilities[row]};
  else if (lane == 3)
    ((float2 *)(void *)record)[3] = {job.weights[row], 0};
}

__global__ void pack_records(const msift_cuda_pack job, int size)
{
  piece p = find_piece(size);
  int64_t row, place = job.first + p.record;
  unsigned char *record;

  if (p.record >= job.n)
    return;
  row = job.rows == nullptr ? p.record : job.rows[p.record];
  record = job.records + (size_t)(place < job.capacity ? place : place - job.capacity) * job.record_bytes;
  if (p.begin == 0)
    put_tag(job, row, record, p.t.lane);
  copy_fields<true>(job.from, row, record, p);
}

__global__ void scatter_fields(const msift_cuda_scatter job, int size)
{
  piece p = find_piece(size);

  if (p.record < job.n)
    copy_fields<false>(job.to, p.record, (unsigned char *)(uintptr_t)job.sources[p.record], p);
}

template <typename T> __device__ inline void put(T *column, int64_t i, T value)
{
  if (column != nullptr)
    column[i] = value;
}

__global__ void scatter_columns(const msift_cuda_scatter job)
{
  int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  msift_cuda_tag tag = {-1, job.padding_epoch, 0, 0, 0, 0};
  unsigned long long hash = 0;

  if (i < job.n) {
    tag = *(const msift_cuda_tag *)(const void *)job.sources[i];
    hash = mix((uint64_t)tag.id + 1);
  }
  if (i < job.n_padded) {
    put(job.ids, i, tag.id);
    put(job.epochs, i, tag.epoch);
    put(job.losses, i, tag.loss);
    put(job.probabilities, i, tag.probability);
    put(job.weights, i, tag.weight);
    if (job.to_slots != nullptr)
      job.to_slots[i] = i < job.n ? job.slots[i] : -1;
  }
  hash = reduce({THREADS, (int)threadIdx.x}, hash, added());
  if (threadIdx.x == 0 && job.id_hash != nullptr)
    atomicAdd((unsigned long long *)(void *)job.id_hash, hash);
}

static size_t width(const msift_cuda_rows &rows)
{
  size_t bytes = sizeof(msift_cuda_tag);

  for (int f = 0; f < rows.n; f++)
    bytes += rows.bytes[f];
  return bytes;
}

/* Threads of a team for records of so many bytes. */
static int team_size(size_t bytes)
{
  return bytes <= 128 ? 8 : bytes <= 4096 ? WARP : THREADS;
}

static dim3 grid(int64_t n, int size, size_t bytes)
{
  return dim3(blocks_of(n, THREADS / size), (unsigned)((bytes + CHUNK - 1) / CHUNK));
}

extern "C" int msift_cuda_launch_pack(const struct msift_cuda_pack *job, void *stream)
{
  size_t bytes = width(job->from);
  int size = team_size(bytes);

  pack_records<<<grid(job->n, size, bytes), THREADS, 0, (cudaStream_t)stream>>>(*job, size);
  return (int)cudaGetLastError();
}

extern "C" int msift_cuda_launch_columns(const struct msift_cuda_scatter *job, void *stream)
{
  scatter_columns<<<blocks_of(job->n_padded, THREADS), THREADS, 0, (cudaStream_t)stream>>>(*job);
  return (int)cudaGetLastError();
}

extern "C" int msift_cuda_launch_fields(const struct msift_cuda_scatter *job, void *stream)
{
  size_t bytes = width(job->to);
  int size = team_size(bytes);

  scatter_fields<<<grid(job->n, size, bytes), THREADS, 0, (cudaStream_t)stream>>>(*job, size);
  return (int)cudaGetLastError();
}
