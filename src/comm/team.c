#include "comm/team.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

mpisift_status msift_mpi(struct msift_error *error, int code, const char *call)
{
  char text[MPI_MAX_ERROR_STRING] = "";
  int length;

  if (code == MPI_SUCCESS)
    return MPISIFT_OK;
  MPI_Error_string(code, text, &length);
  return msift_error_set(error, MPISIFT_ERR_MPI, "%s failed: %.300s", call, text);
}

/* A private copy of a communicator whose errors are returned. */
static mpisift_status duplicate(MPI_Comm comm, const char *name, MPI_Comm *copy, struct msift_error *error)
{
  MSIFT_TRY(msift_mpi(error, MPI_Comm_dup(comm, copy), "MPI_Comm_dup"));
  MPI_Comm_set_errhandler(*copy, MPI_ERRORS_RETURN);
  MPI_Comm_set_name(*copy, name);
  return MPISIFT_OK;
}

static mpisift_status open_replica(struct msift_team *team, const mpisift_team *asked, struct msift_error *error)
{
  MPI_Comm replica = asked->replica == MPI_COMM_NULL ? MPI_COMM_SELF : asked->replica;

  MSIFT_TRY(duplicate(replica, "mpisift replica", &team->replica, error));
  MPI_Comm_rank(team->replica, &team->replica_rank);
  MPI_Comm_size(team->replica, &team->replica_size);
  team->loss_rank = asked->loss_rank;
  if (asked->loss_rank < 0 || asked->loss_rank >= team->replica_size)
    return msift_error_set(error, MPISIFT_ERR_ARG, "team.loss_rank is %d, but the replica has ranks 0 to %d",
                           asked->loss_rank, team->replica_size - 1);
  return MPISIFT_OK;
}

static mpisift_status open_leaders(struct msift_team *team, struct msift_error *error)
{
  int color = msift_team_leads(team) ? 0 : MPI_UNDEFINED, place[2] = {0, 0};

  MSIFT_TRY(msift_mpi(error, MPI_Comm_split(team->all, color, team->all_rank, &team->leaders), "MPI_Comm_split"));
  if (team->leaders != MPI_COMM_NULL) {
    MPI_Comm_set_name(team->leaders, "mpisift leaders");
    MPI_Comm_rank(team->leaders, &place[0]);
    MPI_Comm_size(team->leaders, &place[1]);
  }
  MSIFT_TRY(msift_team_share(team, place, 2, sizeof place[0], 0, error));
  team->rank = place[0];
  team->size = place[1];
  return MPISIFT_OK;
}

/* A node is named by its lowest leader. */
static mpisift_status find_nodes(struct msift_team *team, struct msift_error *error)
{
  MPI_Comm node = MPI_COMM_NULL;
  int name = team->rank;

  if (team->leaders != MPI_COMM_NULL) {
    MSIFT_TRY(msift_mpi(error,
                        MPI_Comm_split_type(team->leaders, MPI_COMM_TYPE_SHARED, team->rank, MPI_INFO_NULL, &node),
                        "MPI_Comm_split_type"));
    MSIFT_TRY(msift_mpi(error, MPI_Bcast(&name, 1, MPI_INT, 0, node), "MPI_Bcast"));
    MPI_Comm_free(&node);
    MSIFT_TRY(
        msift_mpi(error, MPI_Allgather(&name, 1, MPI_INT, team->node, 1, MPI_INT, team->leaders), "MPI_Allgather"));
  }
  return msift_team_share(team, team->node, team->size, sizeof *team->node, 0, error);
}

static mpisift_status build(struct msift_team *team, const mpisift_team *asked, struct msift_memory *memory,
                            struct msift_error *error)
{
  struct msift_setting settings[2];

  open_replica(team, asked, error);
  MSIFT_TRY(msift_team_agree(team, error));
  settings[0] = (struct msift_setting){"size of team.replica", (uint64_t)team->replica_size};
  settings[1] = (struct msift_setting){"team.loss_rank", (uint64_t)team->loss_rank};
  MSIFT_TRY(msift_team_compare(team, settings, 2, error));
  MSIFT_TRY(open_leaders(team, error));
  if (team->size * team->replica_size != team->all_size)
    msift_error_set(error, MPISIFT_ERR_ARG, "%d replicas of %d ranks do not make the %d ranks of team.comm", team->size,
                    team->replica_size, team->all_size);
  team->node = msift_alloc(memory, error, team->size, sizeof *team->node);
  MSIFT_TRY(msift_team_agree(team, error));
  return find_nodes(team, error);
}

mpisift_status msift_team_open(struct msift_team *team, const mpisift_team *asked, struct msift_memory *memory,
                               struct msift_error *error)
{
  memset(team, 0, sizeof *team);
  team->all = team->replica = team->leaders = MPI_COMM_NULL;
  MSIFT_TRY(duplicate(asked->comm, "mpisift", &team->all, error));
  MPI_Comm_rank(team->all, &team->all_rank);
  MPI_Comm_size(team->all, &team->all_size);
  if (build(team, asked, memory, error) != MPISIFT_OK)
    msift_team_close(team, memory);
  return error->status;
}

static void free_comm(MPI_Comm *comm)
{
  if (*comm != MPI_COMM_NULL)
    MPI_Comm_free(comm);
}

void msift_team_close(struct msift_team *team, struct msift_memory *memory)
{
  free_comm(&team->leaders);
  free_comm(&team->replica);
  free_comm(&team->all);
  msift_free(memory, &team->node);
}

/* Give rank `from`'s error to all. It is named, unless every rank holds the same: then it is no rank's own. */
static mpisift_status tell(const struct msift_team *team, int from, struct msift_error *error)
{
  const struct msift_error own = *error;
  int alike;

  if (from != team->all_rank)
    msift_error_clear(error);
  MSIFT_TRY(msift_mpi(error, MPI_Bcast(error, (int)sizeof *error, MPI_BYTE, from, team->all), "MPI_Bcast"));
  alike = own.status == error->status && strcmp(own.text, error->text) == 0;
  MSIFT_TRY(msift_mpi(error, MPI_Allreduce(MPI_IN_PLACE, &alike, 1, MPI_INT, MPI_LAND, team->all), "MPI_Allreduce"));
  if (!alike)
    msift_error_prefix(error, "rank %d: ", from);
  return error->status;
}

mpisift_status msift_team_agree(const struct msift_team *team, struct msift_error *error)
{
  int mine = error->status == MPISIFT_OK ? INT_MAX : team->all_rank, first;

  MSIFT_TRY(msift_mpi(error, MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, team->all), "MPI_Allreduce"));
  return first == INT_MAX ? MPISIFT_OK : tell(team, first, error);
}

bool msift_team_any(const struct msift_team *team, bool mine, struct msift_error *error)
{
  int any = mine;

  if (team->replica_size > 1)
    msift_mpi(error, MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_LOR, team->replica), "MPI_Allreduce");
  return any;
}

/* The largest of x and of ~x are complements if and only if x is equal on all ranks. */
mpisift_status msift_team_compare(const struct msift_team *team, const struct msift_setting *settings, int n,
                                  struct msift_error *error)
{
  uint64_t most[2 * MSIFT_MAX_SETTINGS];

  for (int i = 0; i < n; i++) {
    most[2 * i] = settings[i].value;
    most[2 * i + 1] = ~settings[i].value;
  }
  MSIFT_TRY(
      msift_mpi(error, MPI_Allreduce(MPI_IN_PLACE, most, 2 * n, MPI_UINT64_T, MPI_MAX, team->all), "MPI_Allreduce"));
  for (int i = 0; i < n; i++)
    if (most[2 * i] != ~most[2 * i + 1])
      return msift_error_set(error, MPISIFT_ERR_ARG, "%s differs between ranks; give the same on all",
                             settings[i].name);
  return MPISIFT_OK;
}

mpisift_status msift_team_sum(const struct msift_team *team, uint64_t *values, int n, struct msift_error *error)
{
  return msift_mpi(error, MPI_Allreduce(MPI_IN_PLACE, values, n, MPI_UINT64_T, MPI_SUM, team->all), "MPI_Allreduce");
}

mpisift_status msift_team_tell(const struct msift_team *team, void *bytes, int64_t n, struct msift_error *error)
{
  for (int64_t at = 0, part; at < n; at += part) {
    part = n - at < INT_MAX ? n - at : INT_MAX;
    MSIFT_TRY(msift_mpi(error, MPI_Bcast((unsigned char *)bytes + at, (int)part, MPI_BYTE, 0, team->all), "MPI_Bcast"));
  }
  return MPISIFT_OK;
}

mpisift_status msift_team_share(const struct msift_team *team, void *items, int64_t n, size_t size, int from,
                                struct msift_error *error)
{
  MPI_Datatype item;
  int code;

  if (team->replica_size == 1 || n == 0)
    return MPISIFT_OK;
  MPI_Type_contiguous((int)size, MPI_BYTE, &item);
  MPI_Type_commit(&item);
  code = MPI_Bcast(items, (int)n, item, from, team->replica);
  MPI_Type_free(&item);
  return msift_mpi(error, code, "MPI_Bcast");
}
