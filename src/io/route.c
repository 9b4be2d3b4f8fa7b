#include "io/route.h"

#include <string.h>

#include "io/fetch.h"
#include "io/h5.h"

/* Elements as they are in memory but for their order. NULL, or why they are not. */
static const char *compare_types(struct msift_h5_field *field)
{
  hid_t stored = H5Dget_type(field->data), base = msift_h5_element(stored), own = msift_h5_element(field->memory_type);
  const char *why = NULL;

  field->route.element = mpisift_type_size(field->field.type);
  if (H5Tequal(base, own) <= 0) {
    H5Tset_order(own, H5Tget_order(own) == H5T_ORDER_LE ? H5T_ORDER_BE : H5T_ORDER_LE);
    field->route.swapped = true;
    if (H5Tequal(base, own) <= 0)
      why = "its elements do not fill their bytes in a usual way";
  }
  H5Tclose(own);
  H5Tclose(base);
  H5Tclose(stored);
  return why;
}

/* Registered with The HDF Group. */
enum { FILTER_LZ4 = 32004, FILTER_ZSTD = 32015 };

bool msift_route_undoes(H5Z_filter_t id)
{
  return (id == FILTER_LZ4 && msift_decodes(MSIFT_LZ4)) || (id == FILTER_ZSTD && msift_decodes(MSIFT_ZSTD));
}

static const char *take_filter(hid_t properties, unsigned i, struct msift_route *r)
{
  static const struct {
    H5Z_filter_t id;
    enum msift_filter_kind kind;
  } known[] = {{H5Z_FILTER_SHUFFLE, MSIFT_SHUFFLE},
               {H5Z_FILTER_DEFLATE, MSIFT_DEFLATE},
               {H5Z_FILTER_FLETCHER32, MSIFT_FLETCHER32},
               {FILTER_LZ4, MSIFT_LZ4},
               {FILTER_ZSTD, MSIFT_ZSTD}};
  unsigned flags, values[8] = {0};
  size_t n_values = 8;
  H5Z_filter_t id = H5Pget_filter2(properties, i, &flags, &n_values, values, 0, NULL, NULL);

  r->alone = r->alone || H5Zfilter_avail(id) <= 0;
  for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
    if (known[k].id == id && msift_decodes(known[k].kind)) {
      r->filters.of[r->filters.n++] =
          (struct msift_filter){known[k].kind, n_values > 0 && values[0] > 0 ? values[0] : 1};
      return NULL;
    }
  return "it has a filter that only HDF5 undoes";
}

static const char *take_filters(hid_t properties, struct msift_route *r)
{
  int n = H5Pget_nfilters(properties);
  const char *why = n < 0 || n > MSIFT_MAX_FILTERS ? "it has too many filters" : NULL;

  for (int i = 0; i < n && why == NULL; i++)
    why = take_filter(properties, (unsigned)i, r);
  return why;
}

/* HDF5 reads with a driver; the usual one has a descriptor. */
static const char *take_descriptor(struct msift_h5_field *field)
{
  hid_t file = H5Iget_file_id(field->data), access = H5Fget_access_plist(file);
  const char *why = "HDF5 does not read its file with the driver sec2";
  unsigned intent = 0;
  void *handle = NULL;

  field->route.descriptor = -1;
  if (H5Fget_intent(file, &intent) < 0 || (intent & H5F_ACC_RDWR) != 0)
    why = "its file is open for writing in this program";
  else if (H5Pget_driver(access) == H5FD_SEC2 && H5Fget_vfd_handle(file, access, &handle) >= 0 && handle != NULL) {
    field->route.descriptor = *(int *)handle;
    why = fstat(field->route.descriptor, &field->route.opened) == 0 ? NULL : "its file cannot be examined";
  }
  H5Pclose(access);
  H5Fclose(file);
  return why;
}

static const char *take_contiguous(struct msift_h5_field *field, hid_t properties, int64_t n)
{
  haddr_t offset = H5Dget_offset(field->data);

  if (H5Pget_external_count(properties) > 0)
    return "its rows are in other files";
  if (offset == HADDR_UNDEF || H5Dget_storage_size(field->data) != (hsize_t)n * field->bytes)
    return "it has no rows in the file";
  field->route.offset = offset;
  return NULL;
}

static const char *take_chunked(struct msift_h5_field *field, hid_t properties, int64_t n)
{
  hsize_t chunk[H5S_MAX_RANK] = {0}, dims[H5S_MAX_RANK] = {0};
  int rank = H5Pget_chunk(properties, H5S_MAX_RANK, chunk);
  unsigned options = 0;
  hid_t space = H5Dget_space(field->data);

  H5Sget_simple_extent_dims(space, dims, NULL);
  H5Sclose(space);
  for (int k = 1; k < rank; k++)
    if (chunk[k] != dims[k])
      return "its chunks do not hold whole rows";
  if (n % (int64_t)chunk[0] != 0 && H5Pget_chunk_opts(properties, &options) >= 0 &&
      (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0)
    return "its last chunk is stored without its filters";
  field->route.chunk = (int64_t)chunk[0];
  field->route.n_chunks = (n + field->route.chunk - 1) / field->route.chunk;
  return take_filters(properties, &field->route);
}

static const char *take_layout(struct msift_h5_field *field, int64_t n)
{
  hid_t properties = H5Dget_create_plist(field->data);
  const char *why = "its layout is not contiguous or chunked";
  H5D_layout_t layout = H5Pget_layout(properties);

  if (layout == H5D_CONTIGUOUS)
    why = take_contiguous(field, properties, n);
  else if (layout == H5D_CHUNKED)
    why = take_chunked(field, properties, n);
  H5Pclose(properties);
  return why;
}

static mpisift_status find_chunks(struct msift_h5_field *field, struct msift_memory *memory, struct msift_error *error)
{
  struct msift_route *r = &field->route;

  r->chunks = msift_alloc(memory, error, r->n_chunks, sizeof *r->chunks);
  if (r->chunks == NULL)
    return error->status;
  if (!msift_chunks_find(field->data, r->descriptor, r->chunk, r->n_chunks, r->chunks)) {
    r->why = "HDF5 does not tell where its chunks are";
    msift_free(memory, &r->chunks);
  }
  return MPISIFT_OK;
}

mpisift_status msift_route_find(struct msift_h5_field *field, int64_t n, struct msift_memory *memory,
                                struct msift_error *error)
{
  struct msift_route *r = &field->route;
  const char *types = compare_types(field), *descriptor = take_descriptor(field);

  r->why = types != NULL ? types : descriptor;
  if (r->why == NULL)
    r->why = take_layout(field, n);
  return r->why == NULL && r->chunk > 0 ? find_chunks(field, memory, error) : MPISIFT_OK;
}

void msift_route_destroy(struct msift_h5_field *field, struct msift_memory *memory)
{
  msift_free(memory, &field->route.chunks);
}

size_t msift_route_decodes(const struct msift_h5_field *field)
{
  const struct msift_route *r = &field->route;

  return r->why == NULL && r->filters.n > 0 ? (size_t)r->chunk * field->bytes : 0;
}

/* The last row that is stored in a chunk of a size that can be, or −1: HDF5 takes memory for any size that is claimed.
 */
static int64_t last_stored(const struct msift_h5_field *field, int64_t n)
{
  const struct msift_route *r = &field->route;
  size_t most = msift_stored_most((size_t)r->chunk * field->bytes);
  int64_t chunk = r->n_chunks - 1;

  if (r->chunk == 0)
    return n - 1;
  while (chunk >= 0 && (r->chunks[chunk].bytes == 0 || r->chunks[chunk].bytes > most))
    chunk--;
  return chunk == r->n_chunks - 1 ? n - 1 : (chunk + 1) * r->chunk - 1;
}

static const char *compare_row(struct msift_h5_field *field, int64_t row, unsigned char *own, unsigned char *other,
                               struct msift_scratch *scratch)
{
  int64_t first = field->route.filters.n > 0 ? row / field->route.chunk * field->route.chunk : row;
  struct msift_fault fault;
  char cause[MSIFT_TEXT];

  if (!msift_fetch_by_hdf5(field, row, 1, other, cause))
    return "its last row cannot be read";
  if (!msift_fetch(field, first, row - first + 1, own, scratch, &fault) ||
      memcmp(own + (size_t)(row - first) * field->bytes, other, field->bytes) != 0)
    return "its last row differs from what HDF5 reads";
  return NULL;
}

mpisift_status msift_route_check(struct msift_h5_field *field, int64_t n, struct msift_scratch *scratch,
                                 struct msift_memory *memory, struct msift_error *error)
{
  struct msift_route *r = &field->route;
  int64_t rows = r->filters.n > 0 ? r->chunk : 1, row = r->why == NULL ? last_stored(field, n) : -1;
  unsigned char *own;

  if (r->why == NULL && row < 0)
    r->why = "it has no rows in the file";
  if (r->why != NULL || r->alone)
    return MPISIFT_OK;
  own = msift_alloc(memory, error, rows + 1, field->bytes);
  if (own == NULL)
    return error->status;
  r->why = compare_row(field, row, own, own + (size_t)rows * field->bytes, scratch);
  msift_free(memory, &own);
  return MPISIFT_OK;
}
