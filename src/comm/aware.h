/* MPI on device memory: an MPI built with CUDA takes device pointers in place of the host's, once the work that fills
 * or empties the memory is done. */
#ifndef MSIFT_COMM_AWARE_H
#define MSIFT_COMM_AWARE_H

#include "comm/team.h"

/* ERR_DEVICE where MPI says on any rank that it does not. Collective over the team. */
mpisift_status msift_aware_check(const struct msift_team *team, struct msift_error *error);

#endif
