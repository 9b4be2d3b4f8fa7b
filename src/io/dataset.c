#include <config.h>

#include "io/dataset.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/h5.h"
#include "io/outside.h"
#include "io/route.h"
#include "io/storage.h"

/* Blocks of contiguous fields, and of fields with tiny chunks. */
enum { MIN_BLOCK_BYTES = 64 << 10 };

/* How the file is to be opened; to be closed. Older versions of HDF5 ask the environment only. */
static hid_t access_of(bool unlocked)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);

#ifdef HAVE_H5PSET_FILE_LOCKING
  if (unlocked)
    H5Pset_file_locking(access, false, true);
#else
  (void)unlocked;
#endif
  return access;
}

static mpisift_status open_file(struct msift_dataset *d, const char *path, const char *group, bool unlocked,
                                struct msift_error *error)
{
  char cause[MSIFT_TEXT];
  struct stat status;
  hid_t access;

  if (stat(path, &status) != 0)
    return msift_error_set(error, MPISIFT_ERR_IO, "%s: no such file, or not readable here", d->path);
  if (!S_ISREG(status.st_mode))
    return msift_error_set(error, MPISIFT_ERR_IO, "%s: not a regular file", d->path);
  access = access_of(unlocked);
  d->file = H5Fopen(path, H5F_ACC_RDONLY, access);
  if (d->file < 0)
    msift_error_set(error, MPISIFT_ERR_IO, "%s: not an HDF5 file, or a truncated one: %s", d->path,
                    msift_h5_cause(cause));
  H5Pclose(access);
  MSIFT_TRY(error->status);
  d->group = msift_link_is_safe(d->file, group) ? H5Gopen2(d->file, group, H5P_DEFAULT) : -1;
  if (d->group < 0)
    return msift_error_set(error, MPISIFT_ERR_IO, "%s: no group %s; 'mpisift info' lists the groups", d->path, group);
  return MPISIFT_OK;
}

struct listing {
  int n;
  char names[MPISIFT_MAX_FIELDS + 1][MSIFT_NAME];
};

static herr_t list_dataset(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
  struct listing *listing = data;
  hid_t object = msift_link_is_safe(group, name) ? H5Oopen(group, name, H5P_DEFAULT) : -1;
  H5I_type_t kind = object < 0 ? H5I_BADID : H5Iget_type(object);

  (void)info;
  if (object >= 0)
    H5Oclose(object);
  if (kind == H5I_DATASET && listing->n <= MPISIFT_MAX_FIELDS)
    snprintf(listing->names[listing->n++], MSIFT_NAME, "%s", name);
  return 0;
}

static mpisift_status list_fields(struct msift_dataset *d, const char *group, struct listing *listing,
                                  struct msift_error *error)
{
  H5Literate(d->group, H5_INDEX_NAME, H5_ITER_INC, NULL, list_dataset, listing);
  if (listing->n == 0)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%s: group %s holds no data sets; 'mpisift info' lists the groups",
                           d->path, group);
  if (listing->n > MPISIFT_MAX_FIELDS)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%s: group %s holds more than %d data sets; name the fields wanted",
                           d->path, group, MPISIFT_MAX_FIELDS);
  return MPISIFT_OK;
}

static mpisift_status take_type(struct msift_dataset *d, struct msift_h5_field *field, struct msift_error *error)
{
  hid_t file_type = H5Dget_type(field->data);
  int type = file_type < 0 ? -1 : msift_h5_type(file_type, &field->memory_type);

  H5Tclose(file_type);
  if (type < 0)
    return msift_error_set(
        error, MPISIFT_ERR_DATA,
        "%s: field %s has an unsupported type; integers of 1 to 8 bytes, floats of 16 to 64 bits, enumerations and "
        "arrays of these are read",
        d->path, field->name);
  field->field.type = (mpisift_type)type;
  return MPISIFT_OK;
}

/* The dimensions of the data set, and behind them those of its type, if it is an array; returns their number. */
static int take_dims(struct msift_h5_field *field, hsize_t *dims)
{
  hid_t space = H5Dget_space(field->data);
  int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dims, NULL);

  H5Sclose(space);
  field->stored_rank = rank;
  return rank < 1 ? rank : msift_h5_array_dims(field->memory_type, dims, rank);
}

static mpisift_status take_shape(struct msift_dataset *d, struct msift_h5_field *field, int64_t *n,
                                 struct msift_error *error)
{
  hsize_t dims[H5S_MAX_RANK] = {0};
  int rank = take_dims(field, dims);

  if (rank < 1 || rank > MPISIFT_MAX_DIMS + 1)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%s: field %s has %d dimensions; it needs 1 (the sample) to %d",
                           d->path, field->name, rank, MPISIFT_MAX_DIMS + 1);
  field->field.ndim = rank - 1;
  for (int k = 1; k < rank; k++) {
    if (dims[k] == 0 || dims[k] > INT32_MAX)
      return msift_error_set(error, MPISIFT_ERR_DATA, "%s: dimension %d of field %s is %llu", d->path, k, field->name,
                             (unsigned long long)dims[k]);
    field->field.shape[k - 1] = (int64_t)dims[k];
  }
  *n = (int64_t)dims[0];
  return MPISIFT_OK;
}

static mpisift_status check_size(const struct msift_dataset *d, struct msift_h5_field *field, struct msift_error *error)
{
  int64_t bytes = (int64_t)mpisift_type_size(field->field.type);

  for (int k = 0; k < field->field.ndim; k++)
    if (__builtin_mul_overflow(bytes, field->field.shape[k], &bytes) || bytes > INT32_MAX)
      return msift_error_set(error, MPISIFT_ERR_DATA, "%s: a sample of field %s has 2 GiB or more", d->path,
                             field->name);
  field->bytes = (size_t)bytes;
  return MPISIFT_OK;
}

static mpisift_status open_field(struct msift_dataset *d, const char *name, struct msift_error *error)
{
  struct msift_h5_field *field = &d->fields[d->n_fields];
  int64_t n = 0;
  hid_t access;

  field->memory_type = H5I_INVALID_HID;
  snprintf(field->name, sizeof field->name, "%s", name);
  field->field.name = field->name;
  access = H5Pcreate(H5P_DATASET_ACCESS);
  H5Pset_chunk_cache(access, 1, 0, 1); /* blocks are whole chunks, and have a cache of their own */
  field->data = msift_link_is_safe(d->group, name) ? H5Dopen2(d->group, name, access) : -1;
  H5Pclose(access);
  if (field->data < 0)
    return msift_error_set(error, MPISIFT_ERR_IO, "%s: no field %s; 'mpisift info' lists the fields", d->path, name);
  d->n_fields++;
  MSIFT_TRY(take_type(d, field, error));
  MSIFT_TRY(take_shape(d, field, &n, error));
  MSIFT_TRY(check_size(d, field, error));
  MSIFT_TRY(msift_storage_check(d, field, n, error));
  if (n == 0)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%s: field %s has no rows", d->path, name);
  if (d->n_fields > 1 && n != d->n)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%s: field %s has %lld rows, but field %s has %lld", d->path, name,
                           (long long)n, d->fields[0].name, (long long)d->n);
  d->n = n;
  return MPISIFT_OK;
}

static int64_t chunk_of(const struct msift_h5_field *field)
{
  hsize_t chunk[H5S_MAX_RANK] = {1};
  hid_t properties = H5Dget_create_plist(field->data);

  if (H5Pget_layout(properties) == H5D_VIRTUAL)
    chunk[0] = (hsize_t)msift_virtual_chunk(field->data);
  if (H5Pget_layout(properties) == H5D_CHUNKED)
    H5Pget_chunk(properties, H5S_MAX_RANK, chunk);
  H5Pclose(properties);
  return (int64_t)chunk[0];
}

/* Samples of a chunk of the field with the largest samples: labels with long chunks beside it do not count. */
static int64_t chunk_rows(const struct msift_dataset *d)
{
  const struct msift_h5_field *largest = &d->fields[0];

  for (int f = 1; f < d->n_fields; f++)
    if (d->fields[f].bytes > largest->bytes)
      largest = &d->fields[f];
  return chunk_of(largest);
}

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
  return value > most ? most : value < least ? least : value;
}

/* What is read at once of each field: about a block of the largest one, in whole chunks. */
static void choose_blocks(struct msift_dataset *d)
{
  int64_t row = 0, chunk_of_largest = chunk_rows(d);

  for (int f = 0; f < d->n_fields; f++)
    row += (int64_t)d->fields[f].bytes;
  d->block = (MIN_BLOCK_BYTES / row + chunk_of_largest - 1) / chunk_of_largest * chunk_of_largest;
  d->block = clamp(clamp(d->block, chunk_of_largest, INT64_MAX), 1, d->n);
  for (int f = 0; f < d->n_fields; f++) {
    struct msift_h5_field *field = &d->fields[f];
    int64_t chunk = chunk_of(field);

    field->block = (d->block + chunk - 1) / chunk * chunk;
  }
}

size_t msift_dataset_decodes(const struct msift_dataset *d)
{
  size_t most = 0;

  for (int f = 0; f < d->n_fields; f++) {
    size_t decodes = msift_route_decodes(&d->fields[f]);

    most = decodes > most ? decodes : most;
  }
  return most;
}

/* How each field is read. Rows are compared with what decodes. */
static mpisift_status choose_routes(struct msift_dataset *d, struct msift_scratch *scratch, struct msift_memory *memory,
                                    struct msift_error *error)
{
  for (int f = 0; f < d->n_fields; f++)
    MSIFT_TRY(msift_route_find(&d->fields[f], d->n, memory, error));
  MSIFT_TRY(msift_scratch_fit(scratch, msift_dataset_decodes(d), memory, error));
  for (int f = 0; f < d->n_fields; f++)
    MSIFT_TRY(msift_route_check(&d->fields[f], d->n, scratch, memory, error));
  return MPISIFT_OK;
}

static mpisift_status open_quietly(struct msift_dataset *d, const char *path, const char *group,
                                   const char *const *names, int n_names, bool unlocked, struct msift_scratch *scratch,
                                   struct msift_memory *memory, struct msift_error *error)
{
  struct listing listing = {0};

  MSIFT_TRY(open_file(d, path, group, unlocked, error));
  if (names == NULL)
    MSIFT_TRY(list_fields(d, group, &listing, error));
  for (int i = 0; i < (names == NULL ? listing.n : n_names); i++)
    MSIFT_TRY(open_field(d, names == NULL ? listing.names[i] : names[i], error));
  choose_blocks(d);
  d->bytes = msift_storage_bytes(d->file);
  return choose_routes(d, scratch, memory, error);
}

mpisift_status msift_dataset_open(struct msift_dataset *d, const char *path, const char *group,
                                  const char *const *names, int n_names, bool unlocked, struct msift_scratch *scratch,
                                  struct msift_memory *memory, struct msift_error *error)
{
  struct msift_h5_quiet quiet;
  mpisift_status status;

  memset(d, 0, sizeof *d);
  d->file = d->group = H5I_INVALID_HID;
  d->descriptor = -1;
  snprintf(d->path, sizeof d->path, "%s", path);
  msift_h5_quiet_begin(&quiet);
  status = open_quietly(d, path, group, names, n_names, unlocked, scratch, memory, error);
  msift_h5_quiet_end(&quiet);
  if (status != MPISIFT_OK)
    msift_dataset_close(d, memory);
  return status;
}

void msift_dataset_close(struct msift_dataset *d, struct msift_memory *memory)
{
  struct msift_h5_quiet quiet;

  msift_h5_quiet_begin(&quiet);
  for (int f = 0; f < d->n_fields; f++) {
    msift_route_destroy(&d->fields[f], memory);
    H5Tclose(d->fields[f].memory_type);
    H5Dclose(d->fields[f].data);
  }
  H5Gclose(d->group);
  H5Fclose(d->file);
  msift_h5_quiet_end(&quiet);
  if (d->descriptor >= 0)
    close(d->descriptor);
  d->n_fields = 0;
}
