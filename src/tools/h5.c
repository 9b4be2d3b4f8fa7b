#include <config.h>

#include "tools/h5.h"

#include <stdio.h>
#include <string.h>

void h5_start(void)
{
  H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

hid_t h5_access(bool unlocked)
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

enum { REASON_SIZE = 512 };

static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *text)
{
  static const char system[] = "error message = '";

  if (n > 0 || !error->desc)
    return 0;
  /* Reads and writes tell addresses and sizes too; what the system said is enough. */
  const char *said = strstr(error->desc, system);
  const char *begin = said ? said + sizeof system - 1 : error->desc;
  snprintf(text, REASON_SIZE, "%.*s", (int)(said ? strcspn(begin, "'") : strlen(begin)), begin);
  return 0;
}

const char *h5_reason(void)
{
  static char text[REASON_SIZE];

  snprintf(text, sizeof text, "HDF5 gave no reason");
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, text);
  return text;
}

/* HDF5 1.10 has no name for the half-precision type; this is the layout that h5py writes too. */
static hid_t new_float16(void)
{
  hid_t type = H5Tcopy(H5T_IEEE_F32LE);

  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}

static hid_t new_integer(bool is_signed, size_t bytes)
{
  hid_t type = H5Tcopy(is_signed ? H5T_STD_I64LE : H5T_STD_U64LE);

  H5Tset_size(type, bytes);
  return type;
}

hid_t h5_type(char kind, size_t bytes, bool big_endian)
{
  hid_t type = -1;

  if (kind == 'f' && bytes == 2)
    type = new_float16();
  else if (kind == 'f' && bytes == 4)
    type = H5Tcopy(H5T_IEEE_F32LE);
  else if (kind == 'f' && bytes == 8)
    type = H5Tcopy(H5T_IEEE_F64LE);
  else if ((kind == 'i' || kind == 'u') && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8))
    type = new_integer(kind == 'i', bytes);
  if (type >= 0 && big_endian)
    H5Tset_order(type, H5T_ORDER_BE);
  return type;
}

static bool is_bfloat16(hid_t type)
{
  size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;

  H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits);
  return exponent_bits == 8;
}

static bool number_name(hid_t type, char *name, size_t size)
{
  H5T_class_t class = H5Tget_class(type);
  size_t bytes = H5Tget_size(type);
  const char *base = class == H5T_INTEGER              ? H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int"
                     : bytes == 2 && is_bfloat16(type) ? "bfloat"
                                                       : "float";
  bool swapped = bytes > 1 && H5Tget_order(type) == H5T_ORDER_BE;

  snprintf(name, size, "%s%zu%s", base, 8 * bytes, swapped ? " (big-endian)" : "");
  return class == H5T_INTEGER ? bytes <= 8 : bytes == 2 || bytes == 4 || bytes == 8;
}

/* What enumerations and arrays are made of. */
static bool inner_name(hid_t type, const char *prefix, char *name, size_t size)
{
  hid_t inner = H5Tget_super(type);
  size_t used = (size_t)snprintf(name, size, "%s of ", prefix);
  bool usable = inner >= 0 && used < size && h5_type_name(inner, name + used, size - used);

  if (inner >= 0)
    H5Tclose(inner);
  return usable;
}

bool h5_type_name(hid_t type, char *name, size_t size)
{
  static const char *const others[] = {
      [H5T_TIME] = "time",           [H5T_STRING] = "string",     [H5T_BITFIELD] = "bit field",
      [H5T_OPAQUE] = "opaque",       [H5T_COMPOUND] = "compound", [H5T_REFERENCE] = "reference",
      [H5T_VLEN] = "variable-length"};
  H5T_class_t class = H5Tget_class(type);

  if (class == H5T_INTEGER || class == H5T_FLOAT)
    return number_name(type, name, size);
  if (class == H5T_ENUM || class == H5T_ARRAY)
    return inner_name(type, class == H5T_ENUM ? "enumeration" : "array", name, size);
  bool known = class >= 0 && class < (int)(sizeof others / sizeof *others) && others[class];
  snprintf(name, size, "%s", known ? others[class] : "unknown");
  return false;
}

bool h5_same_object(hid_t a, hid_t b)
{
#if H5_VERSION_GE(1, 12, 0)
  H5O_info2_t of_a, of_b;
  int order = 1;

  return H5Oget_info3(a, &of_a, H5O_INFO_BASIC) >= 0 && H5Oget_info3(b, &of_b, H5O_INFO_BASIC) >= 0 &&
         of_a.fileno == of_b.fileno && H5Otoken_cmp(a, &of_a.token, &of_b.token, &order) >= 0 && order == 0;
#else
  H5O_info_t of_a, of_b;

  return H5Oget_info2(a, &of_a, H5O_INFO_BASIC) >= 0 && H5Oget_info2(b, &of_b, H5O_INFO_BASIC) >= 0 &&
         of_a.fileno == of_b.fileno && of_a.addr == of_b.addr;
#endif
}

static void close_group(hid_t group)
{
  if (group >= 0)
    H5Gclose(group);
}

bool h5_lacks_group(const char *path, const char *group)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);

  if (file < 0)
    return false;
  hid_t found = H5Gopen2(file, group, H5P_DEFAULT);
  close_group(found);
  H5Fclose(file);
  return found < 0;
}

bool h5_lacks_field(const char *path, const char *group, const char *field)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);

  if (file < 0)
    return false;
  hid_t found = H5Gopen2(file, group, H5P_DEFAULT);
  bool lacks = found >= 0 && H5Lexists(found, field, H5P_DEFAULT) == 0;
  close_group(found);
  H5Fclose(file);
  return lacks;
}

bool h5_same_group(const char *path, const char *a, const char *b)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);

  if (file < 0)
    return false;
  hid_t of_a = H5Gopen2(file, a, H5P_DEFAULT), of_b = H5Gopen2(file, b, H5P_DEFAULT);
  bool same = of_a >= 0 && of_b >= 0 && h5_same_object(of_a, of_b);
  close_group(of_a);
  close_group(of_b);
  H5Fclose(file);
  return same;
}
