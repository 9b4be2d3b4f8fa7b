/* HDF5 data sets of any type, shape, layout and link, with the stored bytes changed or cut off. What can be opened is
 * read as H5Dread reads it, or not at all; nothing is left behind.
 *
 * HDF5's structures in the file stay as HDF5 wrote them: it crashes on damaged ones by itself (see
 * tests/tools/hostile.sh), and would be all that is found. */
#include <hdf5.h>
#include <mpisift/mpisift.h>
#include <stdbool.h>

#include "fuzz.h"
#include "io/files.h"
#include "io/h5.h"

enum { MOST_BYTES = 1 << 20 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  (void)argc, (void)argv;
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  return 0;
}

static hid_t take_type(struct bytes *b)
{
  static const size_t sizes[] = {1, 2, 4, 8};
  hid_t type;

  switch (take_below(b, 12)) {
  case 0:
    return H5Tvlen_create(H5T_STD_I32LE);
  case 1:
    type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, take_below(b, 2) ? H5T_VARIABLE : 3);
    return type;
  case 2:
    type = H5Tenum_create(H5T_STD_I16BE);
    H5Tenum_insert(type, "a", "\0\1");
    return type;
  case 3:
    return H5Tarray_create2(H5T_STD_U8LE, 1, (const hsize_t[]){3});
  case 4:
    return H5Tcreate(H5T_OPAQUE, 1 + take_below(b, 9));
  case 5:
    return H5Tcopy(take_below(b, 2) ? H5T_IEEE_F64BE : H5T_NATIVE_LDOUBLE);
  case 6:
    return H5Tcopy(take_below(b, 2) ? H5T_IEEE_F32LE : H5T_IEEE_F32BE);
  default:
    type = H5Tcopy(take_below(b, 2) ? H5T_STD_I64LE : H5T_STD_U64BE);
    H5Tset_size(type, sizes[take_below(b, 4)]);
    if (take_below(b, 8) == 0)
      H5Tset_precision(type, 1 + take_below(b, 8));
    return type;
  }
}

static hsize_t take_dimension(struct bytes *b)
{
  return take_below(b, 24) == 0 ? (hsize_t)take_long(b) >> 1 : take_below(b, 13);
}

static hid_t take_layout(struct bytes *b, int rank, const hsize_t *dims)
{
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE), source;
  hsize_t chunk[H5S_MAX_RANK];

  for (int d = 0; d < rank; d++)
    chunk[d] = 1 + take_below(b, 8);
  switch (take_below(b, 8)) {
  case 0:
    H5Pset_layout(properties, H5D_COMPACT);
    break;
  case 1:
    source = H5Screate_simple(rank, dims, NULL);
    H5Pset_virtual(properties, source, take_below(b, 2) ? "." : "/no/file", "other", source);
    H5Sclose(source);
    break;
  case 2:
    break;
  default:
    H5Pset_chunk(properties, rank, chunk);
    if (take_below(b, 2))
      H5Pset_shuffle(properties);
    if (take_below(b, 2))
      H5Pset_deflate(properties, take_below(b, 10));
    if (take_below(b, 4) == 0)
      H5Pset_fletcher32(properties);
  }
  return properties;
}

static void write_values(struct bytes *b, hid_t data, hid_t type, int rank, const hsize_t *dims)
{
  size_t bytes = H5Tget_size(type);
  unsigned char *values;

  for (int d = 0; d < rank; d++)
    if (dims[d] > MOST_BYTES || (bytes *= (size_t)dims[d]) > MOST_BYTES)
      return;
  if (H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tis_variable_str(type) > 0 || take_below(b, 16) == 0)
    return;
  values = malloc(bytes + 1);
  for (size_t i = 0; i < bytes; i++)
    values[i] = (unsigned char)take(b);
  H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  free(values);
}

static void add_field(struct bytes *b, hid_t group, const char *name, hsize_t rows)
{
  hsize_t dims[H5S_MAX_RANK] = {take_below(b, 8) ? rows : take_dimension(b)}, most[H5S_MAX_RANK];
  int rank = (int)take_below(b, take_below(b, 16) ? 4 : 12);
  hid_t type = take_type(b), space, properties, data;

  for (int d = 1; d < rank; d++)
    dims[d] = take_dimension(b);
  for (int d = 0; d < rank; d++)
    most[d] = H5S_UNLIMITED;
  properties = take_layout(b, rank, dims);
  space = H5Screate_simple(rank, dims, H5Pget_layout(properties) == H5D_CHUNKED && take_below(b, 2) ? most : NULL);
  data = H5Dcreate2(group, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  if (data >= 0) {
    if (H5Pget_layout(properties) != H5D_VIRTUAL) /* HDF5 does not come back from writing to one in a circle */
      write_values(b, data, type, rank, dims);
    H5Dclose(data);
  }
  H5Sclose(space);
  H5Pclose(properties);
  H5Tclose(type);
}

static void make_file(struct bytes *b, const char *path)
{
  static const char *const names[] = {"x", "y", "z", "other"};
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hsize_t rows = 1 + take_below(b, 40);

  for (unsigned i = take_below(b, 4); i < 4; i++) {
    switch (take_below(b, 10)) {
    case 0:
      H5Lcreate_soft(names[take_below(b, 4)], file, names[i], H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 1:
      H5Lcreate_external(take_below(b, 2) ? "/dev/null" : path, names[take_below(b, 4)], file, names[i], H5P_DEFAULT,
                         H5P_DEFAULT);
      break;
    case 2:
      H5Lcreate_hard(file, "/", file, names[i], H5P_DEFAULT, H5P_DEFAULT);
      break;
    default:
      add_field(b, file, names[i], rows);
    }
  }
  H5Fclose(file);
}

/* Change bytes of stored chunks. */
static void damage(struct bytes *b, const char *path)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = H5Dopen2(file, "x", H5P_DEFAULT), space, properties;
  hsize_t n = 0, size = 0, offset[H5S_MAX_RANK];
  haddr_t at = HADDR_UNDEF;
  unsigned mask;

  if (data < 0) {
    H5Fclose(file);
    return;
  }
  space = H5Dget_space(data);
  properties = H5Dget_create_plist(data);
  if (H5Pget_layout(properties) == H5D_CHUNKED && H5Dget_num_chunks(data, space, &n) >= 0 && n > 0)
    H5Dget_chunk_info(data, space, take(b) % n, offset, &mask, &at, &size);
  H5Pclose(properties);
  H5Sclose(space);
  H5Dclose(data);
  H5Fclose(file);
  FILE *raw = at == HADDR_UNDEF || size == 0 ? NULL : fopen(path, "r+b");
  if (raw == NULL)
    return;
  fseek(raw, (long)(at + take(b) % size), SEEK_SET);
  fputc((int)take(b), raw);
  fclose(raw);
}

/* Rows as H5Dread reads the whole field; NULL where it cannot. */
static unsigned char *whole(const struct msift_h5_field *field, int64_t n)
{
  unsigned char *rows = malloc((size_t)n * mpisift_field_bytes(&field->field) + 1);

  if (H5Dread(field->data, field->memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0)
    return rows;
  free(rows);
  return NULL;
}

static void compare(struct msift_files *fs, struct msift_memory *memory, struct bytes *b, bool damaged)
{
  struct msift_error error = {0};
  int64_t ids[] = {take(b) % fs->n, 0, fs->n - 1, take(b) % fs->n};
  void *dst[MPISIFT_MAX_FIELDS];
  bool readable = true;

  for (int f = 0; f < fs->n_fields; f++)
    dst[f] = malloc(4 * mpisift_field_bytes(&fs->fields[f]));
  if (msift_files_read(fs, 4, ids, dst, memory, &error) != MPISIFT_OK)
    MUST(error.text[0] != '\0');
  for (int f = 0; f < fs->n_fields; f++) {
    size_t bytes = mpisift_field_bytes(&fs->fields[f]);
    unsigned char *rows = whole(&fs->files[0].open->fields[f], fs->n);

    readable = readable && rows != NULL;
    for (int i = 0; i < 4 && rows != NULL && error.status == MPISIFT_OK; i++)
      MUST(memcmp((char *)dst[f] + (size_t)i * bytes, rows + (size_t)ids[i] * bytes, bytes) == 0);
    free(rows);
    free(dst[f]);
  }
  MUST(error.status == MPISIFT_OK || error.status == MPISIFT_ERR_MEMORY || !readable || damaged);
}

static bool is_small(const struct msift_files *fs)
{
  for (int f = 0; f < fs->n_fields; f++)
    if ((double)fs->n * (double)mpisift_field_bytes(&fs->fields[f]) > MOST_BYTES)
      return false;
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static char path[64];
  const char *paths[1] = {path};
  struct bytes b = {data, size};
  struct msift_memory memory = {0};
  struct msift_error error = {0};
  struct msift_files files;
  const struct msift_reading reading = {.cache_bytes = take_below(&b, 2) ? 1 : MOST_BYTES};
  bool damaged = take_below(&b, 2);

  if (path[0] == '\0')
    snprintf(path, sizeof path, "/dev/shm/fuzz-%ld.h5", (long)getpid());
  make_file(&b, path);
  if (damaged)
    damage(&b, path);
  if (msift_files_open(&files, paths, 1, "/", NULL, 0, &reading, NULL, &memory, &error) == MPISIFT_OK) {
    if (is_small(&files))
      compare(&files, &memory, &b, damaged);
    msift_files_close(&files, &memory);
  } else {
    MUST(error.text[0] != '\0');
  }
  MUST(memory.blocks == 0);
  MUST(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
  unlink(path);
  return 0;
}
