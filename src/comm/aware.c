#include "comm/aware.h"

#include <config.h>
#include <string.h>

#ifdef HAVE_MPI_EXT_H
#include <mpi-ext.h>
#endif

/* Open MPI and MPICH have one name for the question. */
static bool takes_device_memory(void)
{
#ifdef HAVE_MPIX_QUERY_CUDA_SUPPORT
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

mpisift_status msift_aware_check(const struct msift_team *team, struct msift_error *error)
{
  char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length;

  if (!takes_device_memory()) {
    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    msift_error_set(error, MPISIFT_ERR_DEVICE,
                    "device.transport is MPISIFT_TRANSPORT_CUDA_AWARE, but this MPI (%.60s) says that it takes no "
                    "device memory; use one built with CUDA (Open MPI: configure --with-cuda; MPICH: --with-cuda, and "
                    "MPIR_CVAR_ENABLE_GPU=1), or another transport",
                    version);
  }
  return msift_team_agree(team, error);
}
