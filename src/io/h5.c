#include "io/h5.h"

#include <stdio.h>

void msift_h5_quiet_begin(struct msift_h5_quiet *quiet)
{
  H5Eauto_is_v2(H5E_DEFAULT, &quiet->version2);
  if (quiet->version2)
    H5Eget_auto2(H5E_DEFAULT, &quiet->print2, &quiet->data);
  else
    H5Eget_auto1(&quiet->print1, &quiet->data);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void msift_h5_quiet_end(const struct msift_h5_quiet *quiet)
{
  if (quiet->version2)
    H5Eset_auto2(H5E_DEFAULT, quiet->print2, quiet->data);
  else
    H5Eset_auto1(quiet->print1, quiet->data);
}

static herr_t keep_first(unsigned depth, const H5E_error2_t *entry, void *text)
{
  if (depth == 0)
    snprintf(text, MSIFT_TEXT / 2, "%s", entry->desc);
  return 0;
}

const char *msift_h5_cause(char *text)
{
  snprintf(text, MSIFT_TEXT / 2, "unknown cause");
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, text);
  return text;
}

/* The smallest of ours that holds it: HDF5 converts those of 3 bytes, and the like. */
static int integer_type(hid_t type)
{
  static const mpisift_type types[2][4] = {{MPISIFT_U8, MPISIFT_U16, MPISIFT_U32, MPISIFT_U64},
                                           {MPISIFT_I8, MPISIFT_I16, MPISIFT_I32, MPISIFT_I64}};
  size_t size = H5Tget_size(type);
  int is_signed = H5Tget_sign(type) != H5T_SGN_NONE;

  for (int i = 0; i < 4; i++)
    if (size <= (size_t)1 << i)
      return (int)types[is_signed][i];
  return -1;
}

/* The two kinds of 16-bit floats differ in the width of the exponent. */
static int half_type(hid_t type)
{
  size_t sign, exponent, exponent_bits = 0, mantissa, mantissa_bits;

  H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits);
  return exponent_bits == 5 ? MPISIFT_F16 : exponent_bits == 8 ? MPISIFT_BF16 : -1;
}

static int float_type(hid_t type)
{
  switch (H5Tget_size(type)) {
  case 2:
    return half_type(type);
  case 4:
    return MPISIFT_F32;
  case 8:
    return MPISIFT_F64;
  default:
    return -1;
  }
}

/* HDF5 1.10 has no native 16-bit float: take the file's own, in this machine's byte order. */
static hid_t native_half(hid_t file_type)
{
  hid_t type = H5Tcopy(file_type);

  if (type >= 0)
    H5Tset_order(type, H5Tget_order(H5T_NATIVE_FLOAT));
  return type;
}

/* By our own type, since H5Tget_native_type goes by the precision, which may be less than the size. Enumerations
 * convert to their like only. */
static hid_t native_integer(hid_t file_type, int type)
{
  hid_t natives[] = {
      [MPISIFT_U8] = H5T_NATIVE_UINT8,   [MPISIFT_I8] = H5T_NATIVE_INT8,    [MPISIFT_U16] = H5T_NATIVE_UINT16,
      [MPISIFT_I16] = H5T_NATIVE_INT16,  [MPISIFT_U32] = H5T_NATIVE_UINT32, [MPISIFT_I32] = H5T_NATIVE_INT32,
      [MPISIFT_U64] = H5T_NATIVE_UINT64, [MPISIFT_I64] = H5T_NATIVE_INT64,
  };

  if (H5Tget_class(file_type) == H5T_ENUM)
    return H5Tget_native_type(file_type, H5T_DIR_ASCEND);
  return H5Tcopy(natives[type]);
}

static hid_t native(hid_t file_type, int type)
{
  if (type == MPISIFT_F16 || type == MPISIFT_BF16)
    return native_half(file_type);
  if (type == MPISIFT_F32 || type == MPISIFT_F64)
    return H5Tcopy(type == MPISIFT_F32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
  return native_integer(file_type, type);
}

static int element_type(hid_t file_type, hid_t *memory_type)
{
  H5T_class_t class = H5Tget_class(file_type);
  int type = -1;

  if (class == H5T_INTEGER || class == H5T_ENUM)
    type = integer_type(file_type);
  else if (class == H5T_FLOAT)
    type = float_type(file_type);
  if (type < 0)
    return -1;
  *memory_type = native(file_type, type);
  if (*memory_type < 0 || H5Tget_size(*memory_type) != mpisift_type_size((mpisift_type)type))
    return -1;
  return type;
}

/* Arrays may be made of arrays. */
int msift_h5_type(hid_t file_type, hid_t *memory_type)
{
  hid_t inner, inner_memory = H5I_INVALID_HID;
  hsize_t dims[H5S_MAX_RANK];
  int type;

  if (H5Tget_class(file_type) != H5T_ARRAY)
    return element_type(file_type, memory_type);
  inner = H5Tget_super(file_type);
  type = msift_h5_type(inner, &inner_memory);
  if (type >= 0 && H5Tget_array_dims2(file_type, dims) >= 0)
    *memory_type = H5Tarray_create2(inner_memory, (unsigned)H5Tget_array_ndims(file_type), dims);
  H5Tclose(inner_memory);
  H5Tclose(inner);
  return *memory_type < 0 ? -1 : type;
}

int msift_h5_array_dims(hid_t type, hsize_t *dims, int at)
{
  hid_t inner;

  if (H5Tget_class(type) != H5T_ARRAY)
    return at;
  if (at + H5Tget_array_ndims(type) > H5S_MAX_RANK)
    return H5S_MAX_RANK;
  H5Tget_array_dims2(type, dims + at);
  inner = H5Tget_super(type);
  at = msift_h5_array_dims(inner, dims, at + H5Tget_array_ndims(type));
  H5Tclose(inner);
  return at;
}

hid_t msift_h5_element(hid_t type)
{
  H5T_class_t class = H5Tget_class(type);
  hid_t inner, element;

  if (class != H5T_ARRAY && class != H5T_ENUM)
    return H5Tcopy(type);
  inner = H5Tget_super(type);
  element = msift_h5_element(inner);
  H5Tclose(inner);
  return element;
}
