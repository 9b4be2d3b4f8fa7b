#include "io/storage.h"

#include <stdio.h>
#include <sys/stat.h>

#include "io/outside.h"
#include "io/route.h"

/* Deflate makes 1032 bytes of one at most. Data that claim less than this many bytes cost little memory in any case. */
enum { MOST_RATIO = 4096 };
static const double harmless = 1e12;

static mpisift_status check_filters(const struct msift_dataset *d, const struct msift_h5_field *field, hid_t properties,
                                    struct msift_error *error)
{
  int n = H5Pget_nfilters(properties);

  for (int i = 0; i < n; i++) {
    unsigned flags = 0, values[1];
    size_t n_values = 0;
    char name[64] = "";
    H5Z_filter_t id = H5Pget_filter2(properties, (unsigned)i, &flags, &n_values, values, sizeof name, name, NULL);

    /* One that is optional may have been left out of all chunks. */
    if (id >= 0 && (flags & H5Z_FLAG_OPTIONAL) == 0 && H5Zfilter_avail(id) <= 0 && !msift_route_undoes(id))
      return msift_error_set(error, MPISIFT_ERR_IO,
                             "%s: field %s needs the filter %d%s%.60s, which HDF5 does not have here; set "
                             "HDF5_PLUGIN_PATH, or h5repack the file",
                             d->path, field->name, (int)id, name[0] ? " " : "", name);
  }
  return MPISIFT_OK;
}

int64_t msift_storage_bytes(hid_t file)
{
  void *descriptor = NULL;
  struct stat status;

  if (H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor) < 0 || descriptor == NULL ||
      fstat(*(const int *)descriptor, &status) != 0)
    return -1;
  return (int64_t)status.st_size;
}

/* A file of a few bytes may claim any number of rows. */
static mpisift_status check_claim(const struct msift_dataset *d, const struct msift_h5_field *field, int64_t n,
                                  hid_t properties, struct msift_error *error)
{
  double claimed = (double)n * (double)mpisift_field_bytes(&field->field), stored;
  int64_t file = msift_storage_bytes(d->file);

  if (claimed <= harmless)
    return MPISIFT_OK;
  stored = (double)H5Dget_storage_size(field->data);
  if (H5Pget_layout(properties) != H5D_VIRTUAL && H5Pget_external_count(properties) == 0 && file >= 0 &&
      stored > (double)file)
    stored = (double)file;
  if (claimed <= MOST_RATIO * stored)
    return MPISIFT_OK;
  return msift_error_set(error, MPISIFT_ERR_DATA,
                         "%s: field %s claims %lld rows of %zu bytes, but only %.0f bytes are stored", d->path,
                         field->name, (long long)n, mpisift_field_bytes(&field->field), stored);
}

mpisift_status msift_storage_check(const struct msift_dataset *d, const struct msift_h5_field *field, int64_t n,
                                   struct msift_error *error)
{
  hid_t properties = H5Dget_create_plist(field->data);

  if (properties < 0)
    return msift_error_set(error, MPISIFT_ERR_IO, "%s: the storage of field %s cannot be told", d->path, field->name);
  if (check_filters(d, field, properties, error) == MPISIFT_OK &&
      msift_virtual_check(field->data, d->path, field->name, error) == MPISIFT_OK)
    check_claim(d, field, n, properties, error);
  H5Pclose(properties);
  return error->status;
}
