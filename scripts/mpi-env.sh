# shellcheck shell=sh
# Settings to run small MPI jobs on one machine; to be sourced by POSIX shells.
# They let Open MPI 4 and 5 run as root, in a container, and with more ranks
# than cores.  Other MPIs ignore them: MPICH needs no leave, but its ranks spin
# where they wait, and with fewer cores than ranks a run takes very long.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none
# Where a rank fails, the launcher ends the others at once, in place of a second later.
export OMPI_MCA_odls_base_sigkill_timeout=0 PRTE_MCA_odls_base_sigkill_timeout=0
# One thread a rank: ranks, not OpenBLAS's threads, share the cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
