#include "tools/losses.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/h5.h"
#include "tools/tool.h"

enum { PIECE = 1 << 14 }; /* losses sent and written together */

/* All ranks learn whether rank 0 succeeded, which prints its message if not. */
static int share(bool ok, const char *message, MPI_Comm comm, job_progress *progress)
{
  int code = ok;
  MPI_Bcast(&code, 1, MPI_INT, 0, comm);
  return code ? TOOL_OK : progress_fail(progress, "%s", message);
}

typedef struct text {
  char words[1024];
} text;

static bool refuse(const loss_field *field, text *message, const char *reason)
{
  snprintf(message->words, sizeof message->words, "%s: cannot write field %s of %s: %s", field->file, field->name,
           field->group, reason);
  return false;
}

/* One float32 a sample: what this program writes. */
static bool holds_losses(hid_t group, const char *name)
{
  hid_t data = H5Dopen2(group, name, H5P_DEFAULT);
  if (data < 0)
    return false;
  hid_t type = H5Dget_type(data), space = H5Dget_space(data);
  bool same = H5Tequal(type, H5T_IEEE_F32LE) > 0 && H5Sget_simple_extent_ndims(space) == 1;
  H5Sclose(space);
  H5Tclose(type);
  H5Dclose(data);
  return same;
}

/* The file and the group, open for writing. */
typedef struct target {
  hid_t file, group;
  bool exists; /* the field is there and is to be replaced */
} target;

static bool check_target(target *to, const loss_field *field, text *message)
{
  htri_t exists = H5Lexists(to->group, field->name, H5P_DEFAULT);
  if (exists < 0)
    return refuse(field, message, h5_reason());
  to->exists = exists > 0;
  if (to->exists && !field->replace)
    return refuse(field, message, "it exists; choose another name, or replace it with --force");
  if (to->exists && !holds_losses(to->group, field->name))
    return refuse(field, message, "what has this name does not hold losses, and is not replaced");
  return true;
}

static bool close_target(target *to)
{
  if (to->group >= 0)
    H5Gclose(to->group);
  return H5Fclose(to->file) >= 0;
}

static bool open_target(target *to, const loss_field *field, text *message)
{
  hid_t access = h5_access(field->unlocked);
  const char *reason = NULL;
  *to = (target){.group = -1};
  to->file = H5Fopen(field->file, H5F_ACC_RDWR, access);
  if (to->file < 0)
    reason = h5_reason();
  H5Pclose(access);
  /* HDF5 locks the files it has open. */
  if (reason)
    return refuse(field, message, strcmp(reason, strerror(EAGAIN)) == 0 ? "another program has it open" : reason);
  to->group = H5Gopen2(to->file, field->group, H5P_DEFAULT);
  bool ok = to->group >= 0 ? check_target(to, field, message) : refuse(field, message, "the file has no such group");
  if (ok)
    return true;
  close_target(to);
  to->file = -1;
  return false;
}

int losses_check(const loss_field *field, MPI_Comm comm, job_progress *progress)
{
  text message;
  target to;
  int rank;
  bool ok = true;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) {
    ok = open_target(&to, field, &message);
    if (ok)
      close_target(&to);
  }
  return share(ok, message.words, comm, progress);
}

int losses_create(loss_slice *losses, data_set *data)
{
  int64_t total = data->losses_of.n, begin = data_slice(total, data->rank, data->ranks);
  int64_t n = data_slice(total, data->rank + 1, data->ranks) - begin;
  *losses = (loss_slice){total, begin, malloc(((size_t)n + 1) * sizeof(float))};
  int failed = !losses->values;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, data->comm);
  return failed ? progress_fail(data->progress, "out of memory for the losses of %s", data->place->loss_group)
                : TOOL_OK;
}

void losses_destroy(loss_slice *losses)
{
  free(losses->values);
  losses->values = NULL;
}

typedef struct scoring {
  mlp *net;
  loss_slice *losses;
  bool failed;
  int64_t bad; /* the first sample without a finite loss, or INT64_MAX */
} scoring;

static bool all_finite(int n, const float *values)
{
  bool finite = true;
  for (int i = 0; i < n; i++)
    finite = finite && isfinite(values[i]);
  return finite;
}

static void score_rows(data_set *data, const mpisift_source *source, int64_t first, int64_t n, void *user)
{
  scoring *now = user;
  float *values = now->losses->values + (first - now->losses->begin);
  if (!data_load(data, source->fields, n, data->raw)) {
    now->failed = true;
    return;
  }
  const float *logits = mlp_forward(now->net, (int)n, data->x);
  now->failed |= mpisift_losses(data->ctx, NULL, n, data->classes, (mpisift_values){.data = logits},
                                (mpisift_values){.data = data->labels, .type = MPISIFT_I32},
                                &(mpisift_scores){.loss = values}) != MPISIFT_OK;
  for (int64_t i = 0; i < n; i++) {
    /* A ReLU turns NaN into 0: the loss does not tell. */
    bool finite = isfinite(values[i]) && all_finite(data->features, data->x + i * data->features);
    if (!finite && first + i < now->bad)
      now->bad = first + i;
  }
}

int losses_compute(loss_slice *losses, data_set *data, mlp *net)
{
  scoring now = {.net = net, .losses = losses, .bad = INT64_MAX};
  int failed = !data_visit(data, &data->losses_of, score_rows, &now) || now.failed;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, data->comm);
  if (failed)
    return data_read_failed(data);
  MPI_Allreduce(MPI_IN_PLACE, &now.bad, 1, MPI_INT64_T, MPI_MIN, data->comm);
  if (now.bad == INT64_MAX)
    return TOOL_OK;
  return progress_fail(data->progress,
                       "%s: row %" PRId64 " of %s has no finite loss; does its %s hold NaN or infinite values?",
                       data->place->file, now.bad, data->place->loss_group, data->place->fields[DATA_X]);
}

/* Rank 0 while it writes. */
typedef struct writing {
  const loss_field *field;
  text *message;
  target to;
  hid_t data; /* without a name until it is complete: what a killed process leaves of it is unused space */
  bool ok;    /* else the message says why not */
  double sum;
} writing;

static void begin(writing *now, int64_t n)
{
  hsize_t rows = (hsize_t)n;
  now->ok = open_target(&now->to, now->field, now->message);
  if (!now->ok)
    return;
  hid_t space = H5Screate_simple(1, &rows, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_obj_track_times(create, false);
  H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
  now->data = H5Dcreate_anon(now->to.group, H5T_IEEE_F32LE, space, create, H5P_DEFAULT);
  if (now->data < 0)
    now->ok = refuse(now->field, now->message, h5_reason());
  H5Pclose(create);
  H5Sclose(space);
}

static void write_piece(writing *now, int64_t first, int64_t n, const float *values)
{
  hsize_t start = (hsize_t)first, count = (hsize_t)n;
  if (!now->ok)
    return;
  hid_t from = H5Screate_simple(1, &count, NULL), to = H5Dget_space(now->data);
  H5Sselect_hyperslab(to, H5S_SELECT_SET, &start, NULL, &count, NULL);
  if (H5Dwrite(now->data, H5T_NATIVE_FLOAT, from, to, H5P_DEFAULT, values) < 0)
    now->ok = refuse(now->field, now->message, h5_reason());
  H5Sclose(to);
  H5Sclose(from);
  for (int64_t i = 0; i < n; i++)
    now->sum += (double)values[i];
}

/* The numbers are in the file before the name is. */
static void give_name(writing *now)
{
  const char *name = now->field->name;
  const target *to = &now->to;
  hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_char_encoding(links, H5T_CSET_UTF8);
  if (H5Fflush(to->file, H5F_SCOPE_LOCAL) < 0 || (to->exists && H5Ldelete(to->group, name, H5P_DEFAULT) < 0) ||
      H5Olink(now->data, to->group, name, links, H5P_DEFAULT) < 0 || H5Fflush(to->file, H5F_SCOPE_LOCAL) < 0)
    now->ok = refuse(now->field, now->message, h5_reason());
  H5Pclose(links);
}

static void end(writing *now)
{
  if (now->ok)
    give_name(now);
  if (now->data >= 0)
    H5Dclose(now->data);
  if (now->to.file >= 0 && !close_target(&now->to) && now->ok)
    now->ok = refuse(now->field, now->message, h5_reason());
}

/* Take the slices of all ranks in their order, also after a failure: the peers send in any case. */
static void write_slices(writing *now, const loss_slice *losses, MPI_Comm comm)
{
  static float received[PIECE];
  int ranks;
  MPI_Comm_size(comm, &ranks);
  for (int r = 0; r < ranks; r++) {
    int64_t last = data_slice(losses->total, r + 1, ranks);
    for (int64_t first = data_slice(losses->total, r, ranks); first < last; first += PIECE) {
      int64_t n = last - first < PIECE ? last - first : PIECE;
      if (r > 0)
        MPI_Recv(received, (int)n, MPI_FLOAT, r, 0, comm, MPI_STATUS_IGNORE);
      write_piece(now, first, n, r > 0 ? received : losses->values + first);
    }
  }
}

static void send_slice(const loss_slice *losses, int64_t last, MPI_Comm comm)
{
  for (int64_t first = losses->begin; first < last; first += PIECE) {
    int64_t n = last - first < PIECE ? last - first : PIECE;
    MPI_Send(losses->values + (first - losses->begin), (int)n, MPI_FLOAT, 0, 0, comm);
  }
}

int losses_write(const loss_slice *losses, const loss_field *field, MPI_Comm comm, job_progress *progress)
{
  text message;
  writing now = {.field = field, .message = &message, .data = -1, .ok = true};
  int rank, ranks;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  /* Nobody has the file open any more. */
  MPI_Barrier(comm);
  if (rank == 0) {
    begin(&now, losses->total);
    write_slices(&now, losses, comm);
    end(&now);
  } else {
    send_slice(losses, data_slice(losses->total, rank + 1, ranks), comm);
  }
  int code = share(now.ok, message.words, comm, progress);
  if (code == TOOL_OK)
    progress_line(progress, 0, "%s: wrote field %s of %s: %" PRId64 " losses, mean %.5f", field->file, field->name,
                  field->group, losses->total, now.sum / (double)losses->total);
  return code;
}
