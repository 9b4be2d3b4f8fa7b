#include "comm/nccl.h"

static mpisift_status refuse(struct msift_error *error)
{
  return msift_error_set(error, MPISIFT_ERR_DEVICE,
                         "device.transport is MPISIFT_TRANSPORT_NCCL, but this library was built without NCCL; rebuild "
                         "it --with-nccl, or take another transport");
}

mpisift_status msift_nccl_open(struct msift_nccl *nccl, const struct msift_team *team, struct ncclComm *given,
                               struct msift_memory *memory, struct msift_error *error)
{
  (void)given;
  (void)memory;
  nccl->open = false;
  refuse(error);
  return msift_team_agree(team, error);
}

void msift_nccl_close(struct msift_nccl *nccl, struct msift_memory *memory)
{
  (void)nccl;
  (void)memory;
}

mpisift_status msift_nccl_sum(struct msift_nccl *nccl, uint32_t *words, int64_t n, void *stream,
                              struct msift_error *error)
{
  (void)nccl;
  (void)words;
  (void)n;
  (void)stream;
  return refuse(error);
}

mpisift_status msift_nccl_begin(struct msift_nccl *nccl, struct msift_error *error)
{
  (void)nccl;
  return refuse(error);
}

mpisift_status msift_nccl_send(struct msift_nccl *nccl, const void *bytes, size_t n, int64_t to, void *stream,
                               struct msift_error *error)
{
  (void)nccl;
  (void)bytes;
  (void)n;
  (void)to;
  (void)stream;
  return refuse(error);
}

mpisift_status msift_nccl_receive(struct msift_nccl *nccl, void *bytes, size_t n, int64_t from, void *stream,
                                  struct msift_error *error)
{
  (void)nccl;
  (void)bytes;
  (void)n;
  (void)from;
  (void)stream;
  return refuse(error);
}

mpisift_status msift_nccl_end(struct msift_nccl *nccl, struct msift_error *error)
{
  (void)nccl;
  return refuse(error);
}

mpisift_status msift_nccl_fail(struct msift_nccl *nccl, struct msift_error *error)
{
  (void)nccl;
  return refuse(error);
}

mpisift_status msift_nccl_check(struct msift_nccl *nccl, struct msift_error *error)
{
  (void)nccl;
  return refuse(error);
}

mpisift_status msift_nccl_wait(struct msift_nccl *nccl, void *event, void *stream, struct msift_error *error)
{
  (void)nccl;
  (void)event;
  (void)stream;
  return refuse(error);
}
