#include "tools/writer.h"

#include "tools/h5.h"
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_CHUNK_BYTES = 1 << 20, MAX_CHUNK_BYTES = 1 << 30 };

struct writer {
  char *path, *temporary;
  hid_t file;
};

struct writer_field {
  const char *path; /* of the file, for messages; borrowed from the writer */
  char *name;       /* with its group */
  hid_t dataset, type;
  int ndim; /* with the rows */
  hsize_t chunk[MPISIFT_MAX_DIMS + 1];
  hsize_t written; /* rows in the file */
  hsize_t waiting; /* rows in the buffer */
  size_t row_bytes;
  unsigned char *buffer; /* one chunk */
};

/* What a signal handler can reach: the temporary file, "" if there is none. */
static char unfinished[PATH_MAX];

static void remove_and_die(int signal_number)
{
  if (*unfinished)
    unlink(unfinished);
  /* Delivered with the default action, which SA_RESETHAND restored, when this handler returns. */
  raise(signal_number);
}

static void catch_signals(void)
{
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction action = {.sa_handler = remove_and_die, .sa_flags = (int)SA_RESETHAND}, before;

  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    /* nohup ignores a signal on purpose. */
    if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(ends[i], &action, NULL);
  }
  /* A file size limit then gives an error like a full disk, instead of ending the process. */
  signal(SIGXFSZ, SIG_IGN);
}

static bool may_write(const char *path, bool force)
{
  struct stat status;

  if (stat(path, &status) != 0)
    return true;
  if (!S_ISREG(status.st_mode))
    tool_error("'%s' exists and is not a regular file", path);
  else if (!force)
    tool_error("'%s' exists; choose another name, or replace it with --force", path);
  return S_ISREG(status.st_mode) && force;
}

/* Without creation times, equal inputs make equal files. */
static hid_t create_file(const char *path)
{
  if (access(path, F_OK) == 0) {
    tool_error("cannot create '%s': it exists; remove it", path);
    return -1;
  }
  hid_t properties = H5Pcreate(H5P_FILE_CREATE);

  H5Pset_obj_track_times(properties, false);
  hid_t file = H5Fcreate(path, H5F_ACC_EXCL, properties, H5P_DEFAULT);
  if (file < 0) {
    tool_error("cannot create '%s': %s", path, h5_reason());
    unlink(path);
  }
  H5Pclose(properties);
  return file;
}

static void release(writer *w)
{
  *unfinished = '\0';
  free(w->path);
  free(w->temporary);
  free(w);
}

writer *writer_create(const char *path, bool force)
{
  size_t size = strlen(path) + 32;

  if (!may_write(path, force))
    return NULL;
  if (size > sizeof unfinished) {
    tool_error("'%s' is too long a name", path);
    return NULL;
  }
  writer *w = calloc(1, sizeof *w);
  if (w) {
    w->path = strdup(path);
    w->temporary = malloc(size);
  }
  if (!w || !w->path || !w->temporary) {
    tool_error("out of memory");
    if (w)
      release(w);
    return NULL;
  }
  snprintf(w->temporary, size, "%s.tmp-%ld", path, (long)getpid());
  memcpy(unfinished, w->temporary, strlen(w->temporary) + 1);
  catch_signals();
  w->file = create_file(w->temporary);
  if (w->file >= 0)
    return w;
  release(w);
  return NULL;
}

static bool file_to_disk(const char *path, int64_t *bytes)
{
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bool ok = fd >= 0 && fsync(fd) == 0 && fstat(fd, &status) == 0;

  if (ok)
    *bytes = status.st_size;
  if (fd >= 0)
    close(fd);
  return ok;
}

bool writer_commit(writer *w, int64_t *bytes)
{
  bool ok = H5Fclose(w->file) >= 0;

  if (!ok) {
    tool_error("cannot finish '%s': %s", w->path, h5_reason());
  } else {
    ok = file_to_disk(w->temporary, bytes) && rename(w->temporary, w->path) == 0;
    if (!ok)
      tool_error("cannot write '%s': %s", w->path, strerror(errno));
  }
  if (!ok)
    unlink(w->temporary);
  release(w);
  return ok;
}

void writer_discard(writer *w)
{
  if (!w)
    return;
  H5Fclose(w->file);
  unlink(w->temporary);
  release(w);
}

static bool write_attribute(writer *w, const char *group, const char *name, hid_t file_type, hid_t type,
                            const void *value)
{
  hid_t object = H5Oopen(w->file, *group ? group : "/", H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
  hid_t attribute = object < 0 ? -1 : H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
  bool ok = attribute >= 0 && H5Awrite(attribute, type, value) >= 0;

  if (!ok)
    tool_error("cannot write attribute '%s' to '%s': %s", name, w->path, h5_reason());
  if (attribute >= 0)
    H5Aclose(attribute);
  H5Sclose(space);
  if (object >= 0)
    H5Oclose(object);
  return ok;
}

/* Variable length, which h5py reads as str. */
bool writer_attribute(writer *w, const char *name, const char *text)
{
  hid_t type = H5Tcopy(H5T_C_S1);

  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  bool ok = write_attribute(w, "", name, type, type, &text);
  H5Tclose(type);
  return ok;
}

bool writer_number(writer *w, const char *group, const char *name, double value)
{
  return write_attribute(w, group, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

bool writer_integer(writer *w, const char *group, const char *name, int64_t value)
{
  return write_attribute(w, group, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

static char *join(const char *group, const char *name)
{
  size_t size = strlen(group) + strlen(name) + 3;
  char *path = malloc(size);

  if (path)
    snprintf(path, size, "/%s%s%s", group, *group ? "/" : "", name);
  return path;
}

static hsize_t choose_chunk_rows(hsize_t rows, size_t row_bytes, int64_t wanted)
{
  hsize_t chunk = wanted ? (hsize_t)wanted : DEFAULT_CHUNK_BYTES / row_bytes;

  chunk = chunk < 1 ? 1 : chunk;
  return chunk < rows ? chunk : rows;
}

/* The file holds the same numbers as the input, always little-endian. */
static hid_t create_dataset(const writer *w, const writer_field *f, hsize_t rows, int gzip)
{
  hsize_t dims[MPISIFT_MAX_DIMS + 1];
  hid_t links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE), type = H5Tcopy(f->type);

  memcpy(dims, f->chunk, sizeof dims);
  dims[0] = rows;
  hid_t space = H5Screate_simple(f->ndim, dims, NULL);
  H5Pset_create_intermediate_group(links, 1);
  H5Pset_char_encoding(links, H5T_CSET_UTF8);
  H5Pset_obj_track_times(create, false);
  H5Pset_chunk(create, f->ndim, f->chunk);
  if (gzip > 0) {
    H5Pset_shuffle(create);
    H5Pset_deflate(create, (unsigned)gzip);
  }
  if (H5Tget_size(type) > 1)
    H5Tset_order(type, H5T_ORDER_LE);
  hid_t dataset = space < 0 ? -1 : H5Dcreate2(w->file, f->name, type, space, links, create, H5P_DEFAULT);
  if (dataset < 0)
    tool_error("cannot create field '%s' in '%s': %s", f->name, w->path, h5_reason());
  H5Tclose(type);
  H5Pclose(create);
  H5Pclose(links);
  if (space >= 0)
    H5Sclose(space);
  return dataset;
}

static void field_release(writer_field *f)
{
  if (f->dataset >= 0)
    H5Dclose(f->dataset);
  free(f->buffer);
  free(f->name);
  free(f);
}

writer_field *writer_field_create(writer *w, const char *group, const input_field *like, int64_t rows,
                                  const writer_options *options)
{
  writer_field *f = calloc(1, sizeof *f);

  if (!f) {
    tool_error("out of memory");
    return NULL;
  }
  *f = (writer_field){.path = w->path, .name = join(group, like->name), .type = like->type, .dataset = -1};
  f->ndim = like->ndim + 1;
  f->row_bytes = like->row_bytes;
  f->chunk[0] = choose_chunk_rows((hsize_t)rows, f->row_bytes, options->chunk_rows);
  memcpy(f->chunk + 1, like->shape, sizeof like->shape);
  if (f->chunk[0] > MAX_CHUNK_BYTES / f->row_bytes) {
    tool_error("chunks of %llu rows of field '%s' have more than 1 GiB; choose a smaller --chunk-rows",
               (unsigned long long)f->chunk[0], like->name);
    field_release(f);
    return NULL;
  }
  f->buffer = malloc(f->chunk[0] * f->row_bytes);
  if (!f->buffer || !f->name)
    tool_error("out of memory");
  else
    f->dataset = create_dataset(w, f, (hsize_t)rows, options->gzip);
  if (f->dataset >= 0)
    return f;
  field_release(f);
  return NULL;
}

static bool flush(writer_field *f)
{
  hsize_t start[MPISIFT_MAX_DIMS + 1] = {f->written}, count[MPISIFT_MAX_DIMS + 1];

  memcpy(count, f->chunk, sizeof count);
  count[0] = f->waiting;
  hid_t from = H5Screate_simple(f->ndim, count, NULL), to = H5Dget_space(f->dataset);
  H5Sselect_hyperslab(to, H5S_SELECT_SET, start, NULL, count, NULL);
  bool ok = H5Dwrite(f->dataset, f->type, from, to, H5P_DEFAULT, f->buffer) >= 0;
  if (!ok)
    tool_error("cannot write field '%s' of '%s': %s", f->name, f->path, h5_reason());
  H5Sclose(from);
  H5Sclose(to);
  f->written += f->waiting;
  f->waiting = 0;
  return ok;
}

bool writer_append(writer_field *f, const void *row)
{
  memcpy(f->buffer + f->waiting * f->row_bytes, row, f->row_bytes);
  return ++f->waiting < f->chunk[0] || flush(f);
}

bool writer_field_close(writer_field *f, bool keep)
{
  if (!f)
    return true;
  bool ok = !keep || f->waiting == 0 || flush(f);
  if (H5Dclose(f->dataset) < 0 && keep && ok) {
    tool_error("cannot write field '%s' of '%s': %s", f->name, f->path, h5_reason());
    ok = false;
  }
  f->dataset = -1;
  field_release(f);
  return ok;
}
