#include "api/source.h"

#include <string.h>

#include "api/hash.h"

static mpisift_status check_field(const mpisift_field *field, int f, struct msift_error *error)
{
  int64_t bytes = (int64_t)mpisift_type_size(field->type);

  if (field->name == NULL || bytes == 0)
    return msift_error_set(error, MPISIFT_ERR_ARG, "source.fields[%d]: name is NULL or type %d is unknown", f,
                           (int)field->type);
  if (field->ndim < 0 || field->ndim > MPISIFT_MAX_DIMS)
    return msift_error_set(error, MPISIFT_ERR_ARG, "field %.64s: ndim is %d; 0 to %d are possible", field->name,
                           field->ndim, MPISIFT_MAX_DIMS);
  for (int d = 0; d < field->ndim; d++)
    if (field->shape[d] < 1 || __builtin_mul_overflow(bytes, field->shape[d], &bytes) || bytes > INT32_MAX)
      return msift_error_set(error, MPISIFT_ERR_ARG, "field %.64s: shape[%d] is %lld; samples have 1 byte to 2 GiB",
                             field->name, d, (long long)field->shape[d]);
  return MPISIFT_OK;
}

mpisift_status msift_fields_check(int n, const mpisift_field *fields, const char *what, struct msift_error *error)
{
  size_t bytes = 0;

  for (int f = 0; f < n; f++) {
    MSIFT_TRY(check_field(&fields[f], f, error));
    bytes += mpisift_field_bytes(&fields[f]);
  }
  if (bytes > INT32_MAX / 2)
    return msift_error_set(error, MPISIFT_ERR_ARG, "%s: a sample has %zu bytes; up to 1 GiB are possible", what, bytes);
  return MPISIFT_OK;
}

mpisift_status msift_source_check(const mpisift_source *source, struct msift_error *error)
{
  if (source->n_fields < 1 || source->n_fields > MPISIFT_MAX_FIELDS || source->fields == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           "source.n_fields is %d; 1 to %d are possible, with source.fields set", source->n_fields,
                           MPISIFT_MAX_FIELDS);
  MSIFT_TRY(msift_fields_check(source->n_fields, source->fields, "source", error));
  if (source->n == 0)
    return msift_error_set(error, MPISIFT_ERR_DATA, "source.n is 0: there are no samples");
  if (source->n < -1)
    return msift_error_set(error, MPISIFT_ERR_ARG, "source.n is %lld; give the number of samples, or -1 for a stream",
                           (long long)source->n);
  if (source->n > 0 && (source->read == NULL || source->block < 1))
    return msift_error_set(error, MPISIFT_ERR_ARG, "source: an indexed source needs read and a block >= 1");
  if (source->n < 0 && source->pull == NULL)
    return msift_error_set(error, MPISIFT_ERR_ARG, "source: a stream (n = -1) needs pull");
  return MPISIFT_OK;
}

uint64_t msift_source_hash(const mpisift_source *source)
{
  uint64_t hash = msift_hash(0, &source->n_fields, sizeof source->n_fields);

  for (int f = 0; f < source->n_fields; f++) {
    const mpisift_field *field = &source->fields[f];

    hash = msift_hash(hash, field->name, strlen(field->name));
    hash = msift_hash(hash, &field->type, sizeof field->type);
    hash = msift_hash(hash, field->shape, (size_t)field->ndim * sizeof field->shape[0]);
  }
  return hash;
}

static int read_arrays(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  const mpisift_arrays *arrays = user;

  for (int f = 0; f < arrays->n_fields; f++) {
    const unsigned char *from = arrays->data[f];
    size_t bytes = mpisift_field_bytes(&arrays->fields[f]);

    for (int64_t i = 0; i < n; i++)
      memcpy((unsigned char *)dst[f] + (size_t)i * bytes, from + (size_t)ids[i] * bytes, bytes);
  }
  return 0;
}

mpisift_source mpisift_arrays_source(const mpisift_arrays *arrays)
{
  return (mpisift_source){.user = (void *)(uintptr_t)arrays,
                          .n = arrays->n,
                          .block = 1,
                          .n_fields = arrays->n_fields,
                          .fields = arrays->fields,
                          .read = read_arrays};
}
