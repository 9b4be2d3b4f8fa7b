/* HDF5 files for tests of data sets, written by rank 0: fields of every type and layout whose values can be told from
 * row and element. */
#ifndef MPISIFT_H5_FILES_H
#define MPISIFT_H5_FILES_H

#include <hdf5.h>
#include <math.h>
#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

enum { N_TYPES = MPISIFT_I64 + 1 };

/* A field as it is to be written. */
struct field_spec {
  const char *name;
  mpisift_type type;
  bool big_endian;
  int ndim;
  int64_t shape[3];
  int64_t chunk; /* rows of a chunk; 0: contiguous */
  bool deflate;  /* shuffle and gzip */
  bool nbit;     /* a filter that is left to HDF5 */
};

static inline int64_t spec_elements(const struct field_spec *f)
{
  int64_t n = 1;

  for (int d = 0; d < f->ndim; d++)
    n *= f->shape[d];
  return n;
}

/* What element e of a row is: a small number times what makes it fill the type and stay exact in it. */
static inline int64_t element_value(mpisift_type type, int64_t row, int64_t e)
{
  static const int64_t scales[N_TYPES] = {
      [MPISIFT_F32] = 65536,
      [MPISIFT_F64] = INT64_C(1) << 44,
      [MPISIFT_F16] = 8,
      [MPISIFT_BF16] = 4096,
      [MPISIFT_U8] = 1,
      [MPISIFT_I8] = 1,
      [MPISIFT_U16] = 257,
      [MPISIFT_I16] = 257,
      [MPISIFT_U32] = 16777213,
      [MPISIFT_I32] = 16777213,
      [MPISIFT_U64] = 36028797018963913,
      [MPISIFT_I64] = 36028797018963913,
  };
  bool is_unsigned = type == MPISIFT_U8 || type == MPISIFT_U16 || type == MPISIFT_U32 || type == MPISIFT_U64;

  return ((row * 131 + e * 17 + (int)type) % 251 - (is_unsigned ? 0 : 125)) * scales[type];
}

/* The 16-bit floats that HDF5 1.10 does not name. */
static inline hid_t half_type(size_t exponent_bits, size_t bias)
{
  size_t mantissa_bits = 15 - exponent_bits;
  hid_t type = H5Tcopy(H5T_IEEE_F32LE);

  H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, bias);
  return type;
}

/* A type of a file; to be closed. */
static inline hid_t file_type(mpisift_type type, bool big_endian)
{
  const hid_t plain[N_TYPES] = {
      [MPISIFT_F32] = H5T_IEEE_F32LE, [MPISIFT_F64] = H5T_IEEE_F64LE, [MPISIFT_U8] = H5T_STD_U8LE,
      [MPISIFT_I8] = H5T_STD_I8LE,    [MPISIFT_U16] = H5T_STD_U16LE,  [MPISIFT_I16] = H5T_STD_I16LE,
      [MPISIFT_U32] = H5T_STD_U32LE,  [MPISIFT_I32] = H5T_STD_I32LE,  [MPISIFT_U64] = H5T_STD_U64LE,
      [MPISIFT_I64] = H5T_STD_I64LE,
  };
  hid_t copy;

  if (type == MPISIFT_F16)
    copy = half_type(5, 15);
  else
    copy = type == MPISIFT_BF16 ? half_type(8, 127) : H5Tcopy(plain[type]);
  H5Tset_order(copy, big_endian ? H5T_ORDER_BE : H5T_ORDER_LE);
  return copy;
}

static inline hid_t layout(const struct field_spec *f, const hsize_t *dims)
{
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  hsize_t chunk[4];

  if (f->chunk == 0)
    return properties;
  memcpy(chunk, dims, sizeof chunk);
  chunk[0] = (hsize_t)f->chunk < dims[0] ? (hsize_t)f->chunk : dims[0];
  if (f->ndim > 1)
    chunk[2] = (chunk[2] + 1) / 2; /* rows lie in several chunks */
  H5Pset_chunk(properties, f->ndim + 1, chunk);
  if (f->deflate) {
    H5Pset_shuffle(properties);
    H5Pset_deflate(properties, 6);
  }
  if (f->nbit)
    H5Pset_nbit(properties);
  return properties;
}

/* Write n rows of a field into a group. */
static inline void write_field(hid_t group, const struct field_spec *f, int64_t n)
{
  hsize_t dims[4] = {(hsize_t)n, (hsize_t)f->shape[0], (hsize_t)f->shape[1], (hsize_t)f->shape[2]};
  hid_t space = H5Screate_simple(f->ndim + 1, dims, NULL), type = file_type(f->type, f->big_endian);
  hid_t properties = layout(f, dims);
  hid_t data = H5Dcreate2(group, f->name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  int64_t elements = spec_elements(f), *values = malloc((size_t)(n * elements + 1) * sizeof *values);

  for (int64_t i = 0; i < n * elements; i++)
    values[i] = element_value(f->type, i / elements, i % elements);
  H5Dwrite(data, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  free(values);
  H5Dclose(data);
  H5Pclose(properties);
  H5Tclose(type);
  H5Sclose(space);
}

/* Write a file with fields in a group below the root, or in the root where that is NULL. */
static inline void write_file(const char *path, const char *group, const struct field_spec *fields, int n_fields,
                              int64_t n)
{
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  hid_t parent =
      group == NULL ? H5Gopen2(file, "/", H5P_DEFAULT) : H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

  for (int f = 0; f < n_fields; f++)
    write_field(parent, &fields[f], n);
  H5Gclose(parent);
  H5Fclose(file);
}

static inline double float16_value(uint16_t bits)
{
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double size = exponent == 0 ? ldexp(mantissa, -24) : ldexp(mantissa + 1024, exponent - 25);

  return bits >> 15 ? -size : size;
}

static inline double bfloat16_value(uint16_t bits)
{
  uint32_t wide = (uint32_t)bits << 16;
  float value;

  memcpy(&value, &wide, sizeof value);
  return (double)value;
}

/* Whether an element in memory, of any alignment, has a value. */
static inline bool element_is(mpisift_type type, const void *element, int64_t value)
{
  union {
    float f32;
    double f64;
    uint16_t u16;
    int16_t i16;
    uint32_t u32;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    int8_t i8;
  } x;

  memcpy(&x, element, mpisift_type_size(type));
  switch (type) {
  case MPISIFT_F32:
    return x.f32 == (float)value;
  case MPISIFT_F64:
    return x.f64 == (double)value;
  case MPISIFT_F16:
    return float16_value(x.u16) == (double)value;
  case MPISIFT_BF16:
    return bfloat16_value(x.u16) == (double)value;
  case MPISIFT_U8:
    return x.u8 == value;
  case MPISIFT_I8:
    return x.i8 == value;
  case MPISIFT_U16:
    return x.u16 == value;
  case MPISIFT_I16:
    return x.i16 == value;
  case MPISIFT_U32:
    return x.u32 == value;
  case MPISIFT_I32:
    return x.i32 == value;
  default:
    return x.i64 == value; /* values of 64 bits are below 2^63 */
  }
}

/* A context and a file of its own. */
struct fixture {
  mpisift_ctx *ctx;
  char folder[96], path[128];
};

static inline void begin(struct fixture *f)
{
  const char *parent = getenv("TMPDIR");
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};

  memset(f, 0, sizeof *f);
  snprintf(f->folder, sizeof f->folder, "%s/mpisift-XXXXXX", parent == NULL || strlen(parent) > 64 ? "/tmp" : parent);
  if (test_rank == 0)
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->folder));
  MPI_Bcast(f->folder, sizeof f->folder, MPI_CHAR, 0, MPI_COMM_WORLD);
  snprintf(f->path, sizeof f->path, "%s/data.h5", f->folder);
  CU_ASSERT_EQUAL_FATAL(mpisift_open(&team, NULL, NULL, 0, &f->ctx), MPISIFT_OK);
}

/* Nothing of HDF5 may be left open, else the context could not be closed either. */
static inline void end(struct fixture *f)
{
  CU_ASSERT_EQUAL(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
  CU_ASSERT_EQUAL(mpisift_close(&f->ctx), MPISIFT_OK);
  MPI_Barrier(MPI_COMM_WORLD);
  if (test_rank == 0) {
    unlink(f->path);
    CU_ASSERT_EQUAL(rmdir(f->folder), 0);
  }
}

/* Let all ranks see what rank 0 has written. */
static inline void written(void)
{
  MPI_Barrier(MPI_COMM_WORLD);
}

static inline void write_fields(const struct fixture *f, const char *group, const struct field_spec *specs, int n_specs,
                                int64_t n)
{
  written();
  if (test_rank == 0)
    write_file(f->path, group, specs, n_specs, n);
  written();
}

static inline int same_everywhere(const char *text)
{
  char first[512];
  int same;

  snprintf(first, sizeof first, "%s", text);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  same = strcmp(first, text) == 0;
  MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  return same;
}

/* Opening fails alike on all ranks, and the text has a word in it. */
static inline void refuse_as(const struct fixture *f, const char *path, const char *group, const char *const *names,
                             int n_names, mpisift_status status, const char *word)
{
  mpisift_dataset *dataset = (void *)(uintptr_t)f;

  CU_ASSERT_EQUAL(mpisift_dataset_open(f->ctx, path, group, names, n_names, 0, &dataset), status);
  CU_ASSERT_PTR_NULL(dataset);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), word));
  CU_ASSERT(same_everywhere(mpisift_error(f->ctx)));
}

static inline mpisift_dataset *open_dataset(const struct fixture *f, const char *group, const char *const *names,
                                            int n_names, size_t cache_bytes)
{
  mpisift_dataset *dataset = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_dataset_open(f->ctx, f->path, group, names, n_names, cache_bytes, &dataset),
                        MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(f->ctx), "");
  return dataset;
}

/* All fields of the root, with a number of threads, which may be 0. */
static inline mpisift_dataset *open_threaded(const struct fixture *f, int threads, size_t cache_bytes)
{
  mpisift_dataset *dataset = NULL;
  mpisift_reading reading;

  mpisift_reading_init(&reading, sizeof reading);
  reading.threads = threads;
  reading.cache_bytes = cache_bytes;
  CU_ASSERT_EQUAL_FATAL(
      mpisift_dataset_open_files(f->ctx, (const char *const[]){f->path}, 1, NULL, NULL, 0, &reading, &dataset),
      MPISIFT_OK);
  return dataset;
}

/* Elements of the rows read that are not what was written; −1 where reading fails. */
static inline int64_t count_wrong(const mpisift_source *s, int64_t n, const int64_t *ids)
{
  void *dst[MPISIFT_MAX_FIELDS];
  int64_t wrong = 0;

  for (int f = 0; f < s->n_fields; f++)
    dst[f] = malloc((size_t)n * mpisift_field_bytes(&s->fields[f]));
  if (s->read(s->user, n, ids, dst) != 0)
    wrong = -1;
  for (int f = 0; f < s->n_fields; f++) {
    size_t size = mpisift_type_size(s->fields[f].type);
    int64_t elements = (int64_t)(mpisift_field_bytes(&s->fields[f]) / size);

    for (int64_t i = 0; i < n * elements && wrong >= 0; i++)
      wrong += !element_is(s->fields[f].type, (const char *)dst[f] + (size_t)i * size,
                           element_value(s->fields[f].type, ids[i / elements], i % elements));
    free(dst[f]);
  }
  return wrong;
}

#endif
