#include "comm/route.h"

#include <string.h>

mpisift_status msift_route_counts(const struct msift_team *team, const int64_t *sent, int64_t *received,
                                  struct msift_error *error)
{
  if (!msift_team_leads(team))
    return MPISIFT_OK;
  return msift_mpi(error, MPI_Alltoall(sent, 1, MPI_INT64_T, received, 1, MPI_INT64_T, team->leaders), "MPI_Alltoall");
}

static size_t piece_of(size_t left, size_t most)
{
  return left < most ? left : most;
}

/* Send to one rank while receiving from another. Each side knows how much there is, so they agree on the pieces. */
static mpisift_status swap(MPI_Comm comm, size_t most, const unsigned char *out, size_t n_out, int to,
                           unsigned char *in, size_t n_in, int from, struct msift_error *error)
{
  while (n_out > 0 || n_in > 0) {
    size_t a = piece_of(n_out, most), b = piece_of(n_in, most);

    MSIFT_TRY(msift_mpi(error,
                        MPI_Sendrecv(out, (int)a, MPI_BYTE, a > 0 ? to : MPI_PROC_NULL, 0, in, (int)b, MPI_BYTE,
                                     b > 0 ? from : MPI_PROC_NULL, 0, comm, MPI_STATUS_IGNORE),
                        "MPI_Sendrecv"));
    out += a, n_out -= a;
    in += b, n_in -= b;
  }
  return MPISIFT_OK;
}

static size_t bytes_of(const int64_t *counts, int n, size_t size)
{
  size_t sum = 0;

  for (int r = 0; r < n; r++)
    sum += (size_t)counts[r];
  return sum * size;
}

/* The ranks in a ring: places of what goes out move up from this rank's, those of what comes in move down. */
mpisift_status msift_route(const struct msift_team *team, size_t size, size_t most, const void *send,
                           const int64_t *sent, void *receive, const int64_t *received, struct msift_error *error)
{
  const int rank = team->rank, ranks = team->size;
  const unsigned char *out = send;
  unsigned char *in = receive;
  size_t out_at, in_at;

  if (!msift_team_leads(team))
    return MPISIFT_OK;
  out_at = bytes_of(sent, rank, size);
  in_at = bytes_of(received, rank, size);
  memcpy(in + in_at, out + out_at, (size_t)sent[rank] * size);
  out_at += (size_t)sent[rank] * size;
  for (int i = 1; i < ranks; i++) {
    int to = (rank + i) % ranks, from = (rank - i + ranks) % ranks;
    size_t n_out = (size_t)sent[to] * size, n_in = (size_t)received[from] * size;

    out_at = to == 0 ? 0 : out_at;
    in_at = (from == ranks - 1 ? bytes_of(received, ranks, size) : in_at) - n_in;
    MSIFT_TRY(swap(team->leaders, most, out + out_at, n_out, to, in + in_at, n_in, from, error));
    out_at += n_out;
  }
  return MPISIFT_OK;
}

static mpisift_status before(const struct msift_team *team, int64_t value, MPI_Op op, int64_t *result,
                             struct msift_error *error)
{
  *result = 0;
  if (!msift_team_leads(team))
    return MPISIFT_OK;
  return msift_mpi(error, MPI_Exscan(&value, result, 1, MPI_INT64_T, op, team->leaders), "MPI_Exscan");
}

mpisift_status msift_route_sum_before(const struct msift_team *team, int64_t value, int64_t *sum,
                                      struct msift_error *error)
{
  MSIFT_TRY(before(team, value, MPI_SUM, sum, error));
  *sum = team->rank == 0 ? 0 : *sum; /* MPI leaves it undefined */
  return MPISIFT_OK;
}

mpisift_status msift_route_most_before(const struct msift_team *team, int64_t value, int64_t *most,
                                       struct msift_error *error)
{
  MSIFT_TRY(before(team, value, MPI_MAX, most, error));
  *most = team->rank == 0 ? -1 : *most;
  return MPISIFT_OK;
}

mpisift_status msift_route_gather(const struct msift_team *team, const int64_t *items, const int *counts,
                                  const int *begins, int64_t *all, struct msift_error *error)
{
  if (!msift_team_leads(team))
    return MPISIFT_OK;
  return msift_mpi(
      error, MPI_Allgatherv(items, counts[team->rank], MPI_INT64_T, all, counts, begins, MPI_INT64_T, team->leaders),
      "MPI_Allgatherv");
}
