#include "tools/describe_field.h"

#include "tools/h5.h"
#include "tools/tool.h"
#include "tools/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_BLOCK_ROWS = 1 << 16, MAX_BLOCK_ROWS = 1 << 22, MAX_ATTRIBUTE_BYTES = 1 << 16 };

/* To be called before HDF5 is called again, which forgets the reason. */
static bool read_error(hid_t object, const char *what)
{
  char reason[256], name[256] = "", file[1024] = "";

  snprintf(reason, sizeof reason, "%s", h5_reason());
  H5Iget_name(object, name, sizeof name);
  H5Fget_name(object, file, sizeof file);
  tool_error("cannot read %s of '%s' in '%s': %s", what, name, file, reason);
  return false;
}

static bool memory_error(void)
{
  tool_error("out of memory");
  return false;
}

static void describe_filter(described_field *f, hid_t create, unsigned i)
{
  unsigned flags, values[4] = {0};
  size_t n_values = 4;
  char name[40] = "";
  char *text = f->filters[i];
  const size_t size = sizeof f->filters[i];
  H5Z_filter_t id = H5Pget_filter2(create, i, &flags, &n_values, values, sizeof name, name, NULL);

  if (id == H5Z_FILTER_DEFLATE)
    snprintf(text, size, "deflate %u", values[0]);
  else if (id == H5Z_FILTER_SHUFFLE || id == H5Z_FILTER_FLETCHER32)
    snprintf(text, size, "%s", id == H5Z_FILTER_SHUFFLE ? "shuffle" : "fletcher32");
  else
    snprintf(text, size, "%s", *name ? name : "unknown");
  if (H5Zfilter_avail(id) <= 0) {
    f->readable = false;
    snprintf(text + strlen(text), size - strlen(text), " (not available)");
  }
}

static void describe_storage(described_field *f, hid_t dataset)
{
  hid_t create = H5Dget_create_plist(dataset);
  H5D_layout_t layout = H5Pget_layout(create);

  f->layout = layout == H5D_COMPACT      ? "compact"
              : layout == H5D_CONTIGUOUS ? "contiguous"
              : layout == H5D_CHUNKED    ? "chunked"
                                         : "virtual";
  if (layout == H5D_CHUNKED)
    f->chunk_ndim = H5Pget_chunk(create, H5S_MAX_RANK, f->chunk);
  int n = H5Pget_nfilters(create);
  f->n_filters = n < 0 ? 0 : n < DESCRIBE_MAX_FILTERS ? n : DESCRIBE_MAX_FILTERS;
  f->readable = true;
  for (int i = 0; i < f->n_filters; i++)
    describe_filter(f, create, (unsigned)i);
  f->stored_bytes = H5Dget_storage_size(dataset);
  H5Pclose(create);
}

/* Count one label. The list stays sorted; false if it is full. */
static bool count_label(described_field *f, int64_t label)
{
  int low = 0, high = f->n_classes;

  while (low < high) {
    int middle = (low + high) / 2;
    if (f->classes[middle].label < label)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == f->n_classes || f->classes[low].label != label) {
    if (f->n_classes == DESCRIBE_MAX_CLASSES)
      return false;
    memmove(f->classes + low + 1, f->classes + low, (size_t)(f->n_classes - low) * sizeof *f->classes);
    f->classes[low] = (described_class){.label = label};
    f->n_classes++;
  }
  f->classes[low].count++;
  return true;
}

static bool count_block(described_field *f, hid_t dataset, hsize_t start, hsize_t n, int64_t *labels)
{
  hid_t to = H5Screate_simple(1, &n, NULL), from = H5Dget_space(dataset);

  H5Sselect_hyperslab(from, H5S_SELECT_SET, &start, NULL, &n, NULL);
  bool ok = H5Dread(dataset, H5T_NATIVE_INT64, to, from, H5P_DEFAULT, labels) >= 0 || read_error(dataset, "values");
  for (hsize_t i = 0; ok && i < n; i++) {
    if (!count_label(f, labels[i])) {
      f->n_classes = 0;
      break;
    }
  }
  H5Sclose(from);
  H5Sclose(to);
  watch_beat();
  return ok;
}

/* A block is a chunk where possible, so that no chunk is decompressed twice. */
static bool count_classes(described_field *f, hid_t dataset)
{
  hsize_t rows = f->dims[0], block = f->chunk_ndim ? f->chunk[0] : 0;

  block = block < MIN_BLOCK_ROWS ? MIN_BLOCK_ROWS : block > MAX_BLOCK_ROWS ? MAX_BLOCK_ROWS : block;
  block = block < rows ? block : rows;
  int64_t *labels = malloc(block * sizeof *labels);
  f->classes = malloc(DESCRIBE_MAX_CLASSES * sizeof *f->classes);
  bool ok = (labels && f->classes) || memory_error();
  for (hsize_t start = 0; ok && start < rows; start += block) {
    ok = count_block(f, dataset, start, rows - start < block ? rows - start : block, labels);
    if (f->n_classes == 0)
      break;
  }
  free(labels);
  return ok;
}

/* Labels are integers of one number a row. Unsigned 64-bit ones do not fit int64_t, and a data set most of which was
 * never written may claim any length. */
static bool has_labels(const described_field *f, hid_t type)
{
  bool integer = H5Tget_class(type) == H5T_INTEGER;
  bool fits = integer && (H5Tget_size(type) < 8 || H5Tget_sign(type) != H5T_SGN_NONE);
  bool written = strcmp(f->layout, "virtual") == 0 || f->raw_bytes / 2000 <= f->stored_bytes;

  return f->readable && !f->problem && f->ndim == 1 && fits && written;
}

/* The shape, and whether samples of it can be trained on. */
static void describe_shape(described_field *f, hid_t type, hid_t space)
{
  hssize_t elements = H5Sget_simple_extent_npoints(space);

  if (!h5_type_name(type, f->type, sizeof f->type))
    f->problem = "its type is not an integer or float";
  f->ndim = H5Sget_simple_extent_dims(space, f->dims, NULL);
  if (f->ndim < 1)
    f->problem = "it has no dimension for samples";
  else if (elements < 1)
    f->problem = "it is empty";
  f->raw_bytes = elements > 0 ? (uint64_t)elements * H5Tget_size(type) : 0;
}

bool describe_field(described_field *f, hid_t dataset, const char *name)
{
  f->name = strdup(name);
  if (!f->name)
    return memory_error();
  hid_t type = H5Dget_type(dataset);
  if (type < 0)
    return read_error(dataset, "the type");
  hid_t space = H5Dget_space(dataset);
  bool ok = space >= 0 || read_error(dataset, "the shape");
  if (ok) {
    describe_shape(f, type, space);
    describe_storage(f, dataset);
    ok = !has_labels(f, type) || count_classes(f, dataset);
    H5Sclose(space);
  }
  H5Tclose(type);
  return ok && describe_attributes(&f->attributes, dataset);
}

static char *read_text(hid_t attribute, hid_t type)
{
  char *text = NULL, *pointed = NULL;

  if (H5Tis_variable_str(type) > 0) {
    if (H5Aread(attribute, type, &pointed) < 0 || !pointed)
      return NULL;
    text = strdup(pointed);
    H5free_memory(pointed);
    return text;
  }
  size_t size = H5Tget_size(type);
  text = size <= MAX_ATTRIBUTE_BYTES ? calloc(size + 1, 1) : NULL;
  if (text && H5Aread(attribute, type, text) < 0) {
    free(text);
    text = NULL;
  }
  return text;
}

static char *read_number(hid_t attribute, hid_t type, bool *finite)
{
  char text[64];
  long long integer = 0;
  double real = 0;

  if (H5Tget_class(type) == H5T_INTEGER) {
    if (H5Aread(attribute, H5T_NATIVE_LLONG, &integer) < 0)
      return NULL;
    snprintf(text, sizeof text, "%lld", integer);
  } else {
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &real) < 0)
      return NULL;
    snprintf(text, sizeof text, "%.15g", real);
  }
  *finite = isfinite(real);
  return strdup(text);
}

/* NULL if it is not a single text or number, or cannot be read. */
static char *read_value(hid_t attribute, hid_t type, bool *is_number)
{
  hid_t space = H5Aget_space(attribute);
  bool single = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
  H5T_class_t class = H5Tget_class(type);

  if (space >= 0)
    H5Sclose(space);
  if (single && class == H5T_STRING)
    return read_text(attribute, type);
  if (single && (class == H5T_INTEGER || class == H5T_FLOAT))
    return read_number(attribute, type, is_number);
  return NULL;
}

static herr_t add_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data)
{
  described_attributes *list = data;
  described_attribute *items = realloc(list->items, (size_t)(list->n + 1) * sizeof *items);
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT), type = attribute < 0 ? -1 : H5Aget_type(attribute);
  described_attribute item = {0};

  (void)info;
  if (items)
    list->items = items;
  if (items && type >= 0) {
    item.name = strdup(name);
    item.value = read_value(attribute, type, &item.is_number);
    if (!item.value) {
      char type_name[48], text[64];
      h5_type_name(type, type_name, sizeof type_name);
      snprintf(text, sizeof text, "(%s)", type_name);
      item.value = strdup(text);
    }
    list->items[list->n++] = item;
  }
  if (type >= 0)
    H5Tclose(type);
  if (attribute >= 0)
    H5Aclose(attribute);
  return item.name && item.value ? 0 : -1;
}

bool describe_attributes(described_attributes *list, hid_t object)
{
  hsize_t next = 0;

  return H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &next, add_attribute, list) >= 0 ||
         read_error(object, "an attribute");
}
