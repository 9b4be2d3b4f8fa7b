#include "io/outside.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES = PATH_MAX };

/* The file that an object is in. */
static void write_path(hid_t object, char path[NAMES])
{
  if (H5Fget_name(object, path, NAMES) < 0)
    path[0] = '\0';
}

/* A name beside a file. */
static void write_beside(const char *path, const char *name, char *beside, size_t size)
{
  const char *slash = strrchr(path, '/');

  snprintf(beside, size, "%.*s%s", slash == NULL ? 0 : (int)(slash - path + 1), path, name);
}

static bool is_regular(const char *path)
{
  struct stat status;

  return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool is_other(const char *path)
{
  struct stat status;

  return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

/* HDF5 tries a name as it is, beside the file, and without its folders. */
static bool leads_to_files(const char *path, const char *name)
{
  char beside[2 * NAMES], alone[2 * NAMES];
  const char *slash = strrchr(name, '/');

  write_beside(path, name, beside, sizeof beside);
  write_beside(path, slash == NULL ? name : slash + 1, alone, sizeof alone);
  return !is_other(name) && !is_other(beside) && !is_other(alone);
}

bool msift_link_is_safe(hid_t group, const char *name)
{
  H5L_info_t info;
  char value[2 * NAMES], path[NAMES];
  const char *file_name, *object_name;
  unsigned flags;

  if (H5Lget_info(group, name, &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_EXTERNAL)
    return true;
  write_path(group, path);
  return info.u.val_size <= sizeof value && H5Lget_val(group, name, value, sizeof value, H5P_DEFAULT) >= 0 &&
         H5Lunpack_elink_val(value, info.u.val_size, &flags, &file_name, &object_name) >= 0 &&
         leads_to_files(path, file_name);
}

/* The data set of a mapping, where HDF5 looks for it too: "." is the file itself; other names are as they are, or
 * beside the file. −1: it cannot be opened. */
static hid_t open_beside(const char *path, const char *file_name, const char *name)
{
  char beside[2 * NAMES];
  const char *found = file_name;
  hid_t file, data;

  write_beside(path, file_name, beside, sizeof beside);
  if (!leads_to_files(path, file_name))
    return -1;
  else if (file_name[0] != '/' && is_regular(beside))
    found = beside;
  if (!is_regular(found))
    return -1;
  file = H5Fopen(found, H5F_ACC_RDONLY, H5P_DEFAULT);
  data = file < 0 ? -1 : H5Dopen2(file, name, H5P_DEFAULT);
  H5Fclose(file); /* it stays open as long as the data set */
  return data;
}

/* The data set of mapping i; −1: it cannot be opened. The name of its file goes to `file_name`, [NAMES]. */
static hid_t open_source(hid_t data, hid_t properties, size_t i, char *file_name)
{
  char name[NAMES], path[NAMES];
  hid_t file, source;

  file_name[0] = '\0';
  if (H5Pget_virtual_filename(properties, i, file_name, NAMES) < 0 ||
      H5Pget_virtual_dsetname(properties, i, name, sizeof name) < 0)
    return -1;
  file_name[NAMES - 1] = name[NAMES - 1] = '\0';
  if (strcmp(file_name, ".") == 0) {
    file = H5Iget_file_id(data);
    source = H5Dopen2(file, name, H5P_DEFAULT);
    H5Fclose(file);
    return source;
  }
  write_path(data, path);
  return open_beside(path, file_name, name);
}

/* Sources numbered by "%b" may end anywhere, and a prefix leads elsewhere. */
static bool can_check(const char *file_name)
{
  return strchr(file_name, '%') == NULL && getenv("HDF5_VDS_PREFIX") == NULL;
}

/* Sources may be virtual themselves; in a circle HDF5 would read without an end. */
enum { MOST_DEEP = 8, MOST_SOURCES = 1 << 20 };

struct walk {
  const char *path, *name; /* for messages */
  int sources;             /* met so far */
  struct msift_error *error;
};

static void check_sources(struct walk *w, hid_t data, int depth);

static void check_source(struct walk *w, hid_t data, hid_t properties, size_t i, int depth)
{
  char file_name[NAMES];
  hid_t source = open_source(data, properties, i, file_name);

  if (source < 0 && can_check(file_name))
    msift_error_set(w->error, MPISIFT_ERR_IO,
                    "%s: field %s is virtual, and its part in %.160s cannot be opened here; HDF5 would read zeros",
                    w->path, w->name, file_name);
  else if (depth == MOST_DEEP || ++w->sources > MOST_SOURCES)
    msift_error_set(w->error, MPISIFT_ERR_DATA,
                    "%s: field %s is virtual, and so are its sources: in a circle, or more than %d deep", w->path,
                    w->name, MOST_DEEP);
  else if (source >= 0)
    check_sources(w, source, depth + 1);
  H5Dclose(source);
}

static void check_sources(struct walk *w, hid_t data, int depth)
{
  hid_t properties = H5Dget_create_plist(data);
  size_t n = 0;

  if (H5Pget_layout(properties) == H5D_VIRTUAL && H5Pget_virtual_count(properties, &n) < 0)
    msift_error_set(w->error, MPISIFT_ERR_IO, "%s: the sources of the virtual field %s cannot be told", w->path,
                    w->name);
  for (size_t i = 0; i < n && w->error->status == MPISIFT_OK; i++)
    check_source(w, data, properties, i, depth);
  H5Pclose(properties);
}

mpisift_status msift_virtual_check(hid_t data, const char *path, const char *name, struct msift_error *error)
{
  struct walk w = {.path = path, .name = name, .error = error};

  check_sources(&w, data, 0);
  return error->status;
}

int64_t msift_virtual_chunk(hid_t data)
{
  hid_t properties = H5Dget_create_plist(data), source, of_source;
  char file_name[NAMES];
  hsize_t chunk[H5S_MAX_RANK] = {1};

  source = open_source(data, properties, 0, file_name);
  of_source = source < 0 ? -1 : H5Dget_create_plist(source);
  if (of_source >= 0 && H5Pget_layout(of_source) == H5D_CHUNKED)
    H5Pget_chunk(of_source, H5S_MAX_RANK, chunk);
  H5Pclose(of_source);
  H5Dclose(source);
  H5Pclose(properties);
  return (int64_t)chunk[0];
}
