#include <mpisift/mpisift.h>

static const struct {
  size_t size;
  const char *name;
} types[] = {
    [MPISIFT_F32] = {4, "float32"},   [MPISIFT_F64] = {8, "float64"}, [MPISIFT_F16] = {2, "float16"},
    [MPISIFT_BF16] = {2, "bfloat16"}, [MPISIFT_U8] = {1, "uint8"},    [MPISIFT_I8] = {1, "int8"},
    [MPISIFT_U16] = {2, "uint16"},    [MPISIFT_I16] = {2, "int16"},   [MPISIFT_U32] = {4, "uint32"},
    [MPISIFT_I32] = {4, "int32"},     [MPISIFT_U64] = {8, "uint64"},  [MPISIFT_I64] = {8, "int64"},
};

size_t mpisift_type_size(mpisift_type type)
{
  size_t i = (size_t)type;

  return i < sizeof types / sizeof types[0] ? types[i].size : 0;
}

const char *mpisift_type_name(mpisift_type type)
{
  size_t i = (size_t)type;

  return i < sizeof types / sizeof types[0] ? types[i].name : "unknown type";
}

size_t mpisift_field_bytes(const mpisift_field *field)
{
  size_t bytes = mpisift_type_size(field->type);

  for (int d = 0; d < field->ndim; d++)
    bytes *= (size_t)field->shape[d];
  return bytes;
}
