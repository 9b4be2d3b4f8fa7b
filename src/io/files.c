#include "io/files.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PIECE = 256 }; /* ids that are translated together */

static mpisift_status add_path(struct msift_files *fs, const char *path, struct msift_memory *memory,
                               struct msift_error *error)
{
  size_t size = strlen(path) + 1;
  char *copy;

  MSIFT_TRY(msift_resize(memory, error, &fs->files, (int64_t)fs->n_files + 2, sizeof *fs->files));
  copy = msift_alloc(memory, error, (int64_t)size, 1);
  if (copy == NULL)
    return error->status;
  memcpy(copy, path, size);
  memset(&fs->files[fs->n_files], 0, 2 * sizeof *fs->files);
  fs->files[fs->n_files++].path = copy;
  return MPISIFT_OK;
}

static int compare_paths(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The order must not depend on the rank's locale. */
static mpisift_status add_matches(struct msift_files *fs, const char *pattern, struct msift_memory *memory,
                                  struct msift_error *error)
{
  glob_t found = {0};
  int code = glob(pattern, GLOB_NOSORT, NULL, &found);

  if (code == GLOB_NOSPACE)
    msift_error_set(error, MPISIFT_ERR_MEMORY, "%.200s: out of memory for the names that match", pattern);
  else if (code != 0)
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: no such file, and no file matches it as a pattern here", pattern);
  else
    qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, compare_paths);
  for (size_t i = 0; error->status == MPISIFT_OK && i < found.gl_pathc; i++)
    add_path(fs, found.gl_pathv[i], memory, error);
  globfree(&found);
  return error->status;
}

static mpisift_status list_files(struct msift_files *fs, const char *const *paths, int n_paths,
                                 struct msift_memory *memory, struct msift_error *error)
{
  for (int i = 0; i < n_paths; i++) {
    if (strpbrk(paths[i], "*?[") != NULL && access(paths[i], F_OK) != 0)
      MSIFT_TRY(add_matches(fs, paths[i], memory, error));
    else
      MSIFT_TRY(add_path(fs, paths[i], memory, error));
  }
  return MPISIFT_OK;
}

/* A process needs descriptors for other things, too. */
static int most_open(void)
{
  struct rlimit limit;
  int most = MSIFT_FILES_OPEN;

  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < (rlim_t)most)
    most = limit.rlim_cur < 2 ? 1 : (int)(limit.rlim_cur / 2);
  return most;
}

static void close_file(struct msift_files *fs, struct msift_file *file, struct msift_memory *memory)
{
  if (file->open == NULL)
    return;
  msift_dataset_close(file->open, memory);
  msift_free(memory, &file->open);
  fs->n_open--;
}

static void close_oldest(struct msift_files *fs, struct msift_memory *memory)
{
  struct msift_file *oldest = NULL;

  for (int i = 0; i < fs->n_files; i++) {
    struct msift_file *file = &fs->files[i];

    if (file->open != NULL && (oldest == NULL || file->used < oldest->used))
      oldest = file;
  }
  if (oldest != NULL)
    close_file(fs, oldest, memory);
}

static mpisift_status open_file(struct msift_files *fs, struct msift_file *file, const char *const *names, int n_names,
                                size_t cache_bytes, struct msift_memory *memory, struct msift_error *error)
{
  struct msift_reading reading = fs->reading;

  reading.cache_bytes = cache_bytes;
  while (fs->n_open >= fs->max_open)
    close_oldest(fs, memory);
  file->open = msift_alloc(memory, error, 1, sizeof *file->open);
  if (file->open == NULL)
    return error->status;
  if (msift_dataset_open(file->open, file->path, fs->group, names, n_names, &reading, memory, error) == MPISIFT_OK)
    fs->n_open++;
  else
    msift_free(memory, &file->open);
  return error->status;
}

static void write_field(const mpisift_field *field, char *text, size_t size)
{
  int at = snprintf(text, size, "%s", mpisift_type_name(field->type));

  for (int d = 0; d < field->ndim && at < (int)size; d++)
    at += snprintf(text + at, size - (size_t)at, "%s%lld%s", d == 0 ? " [" : ", ", (long long)field->shape[d],
                   d == field->ndim - 1 ? "]" : "");
}

/* The fields of a file are those of the first. */
static mpisift_status check_fields(const struct msift_files *fs, const struct msift_file *file,
                                   struct msift_error *error)
{
  for (int f = 0; f < fs->n_fields; f++) {
    const mpisift_field *wanted = &fs->fields[f], *found = &file->open->fields[f].field;
    char is[128], first[128];

    if (wanted->type == found->type && wanted->ndim == found->ndim &&
        memcmp(wanted->shape, found->shape, (size_t)found->ndim * sizeof found->shape[0]) == 0)
      continue;
    write_field(found, is, sizeof is);
    write_field(wanted, first, sizeof first);
    return msift_error_set(error, MPISIFT_ERR_DATA, "%.120s: field %.64s is %s a sample, but %s in %.120s", file->path,
                           found->name, is, first, fs->files[0].path);
  }
  return MPISIFT_OK;
}

static void take_fields(struct msift_files *fs, const struct msift_dataset *first)
{
  fs->n_fields = first->n_fields;
  for (int f = 0; f < fs->n_fields; f++) {
    fs->fields[f] = first->fields[f].field;
    memcpy(fs->names[f], first->fields[f].name, sizeof fs->names[f]);
    fs->fields[f].name = fs->names[f];
  }
}

static void list_names(const struct msift_files *fs, const char *names[MPISIFT_MAX_FIELDS])
{
  for (int f = 0; f < fs->n_fields; f++)
    names[f] = fs->names[f];
}

/* Learn from a file what it holds. Of several files none stays open: a rank may not need it. */
static mpisift_status look_into(struct msift_files *fs, int i, const char *const *names, int n_names,
                                struct msift_memory *memory, struct msift_error *error)
{
  struct msift_file *file = &fs->files[i];

  MSIFT_TRY(open_file(fs, file, names, n_names, fs->n_files == 1 ? fs->reading.cache_bytes : 1, memory, error));
  if (i == 0)
    take_fields(fs, file->open);
  MSIFT_TRY(check_fields(fs, file, error));
  if (file->open->n > INT64_MAX / 2 - file->first)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%.200s: the files up to this one have too many rows", file->path);
  file[1].first = file->first + file->open->n;
  fs->block = file->open->block > fs->block ? file->open->block : fs->block;
  file->seen = file->open->fields[0].route.opened;
  if (fs->n_files > 1)
    close_file(fs, file, memory);
  return MPISIFT_OK;
}

static mpisift_status open_all(struct msift_files *fs, const char *const *paths, int n_paths, const char *const *names,
                               int n_names, struct msift_memory *memory, struct msift_error *error)
{
  const char *found[MPISIFT_MAX_FIELDS];

  MSIFT_TRY(list_files(fs, paths, n_paths, memory, error));
  fs->max_open = most_open();
  if (fs->n_files > 1)
    fs->reading.threads = 0; /* each file has threads of its own */
  MSIFT_TRY(look_into(fs, 0, names, n_names, memory, error));
  list_names(fs, found);
  for (int i = 1; i < fs->n_files; i++)
    MSIFT_TRY(look_into(fs, i, found, fs->n_fields, memory, error));
  fs->n = fs->files[fs->n_files].first;
  fs->reads_ahead = fs->n_files == 1 && fs->files[0].open->readers.n > 0;
  return MPISIFT_OK;
}

mpisift_status msift_files_open(struct msift_files *fs, const char *const *paths, int n_paths, const char *group,
                                const char *const *names, int n_names, const struct msift_reading *reading,
                                struct msift_memory *memory, struct msift_error *error)
{
  int64_t size = (int64_t)strlen(group) + 1;

  *fs = (struct msift_files){.reading = *reading};
  fs->group = msift_alloc(memory, error, size, 1);
  if (fs->group != NULL) {
    memcpy(fs->group, group, (size_t)size);
    open_all(fs, paths, n_paths, names, n_names, memory, error);
  }
  if (error->status != MPISIFT_OK)
    msift_files_close(fs, memory);
  return error->status;
}

void msift_files_close(struct msift_files *fs, struct msift_memory *memory)
{
  for (int i = 0; i < fs->n_files; i++) {
    close_file(fs, &fs->files[i], memory);
    msift_free(memory, &fs->files[i].path);
  }
  msift_free(memory, &fs->files);
  msift_free(memory, &fs->group);
  fs->n_files = 0;
}

/* A file's part of the cache, by its rows, in whole blocks, so that data that fit stay. */
static size_t cache_of(const struct msift_files *fs, const struct msift_file *file)
{
  size_t row = 0, block;

  for (int f = 0; f < fs->n_fields; f++)
    row += mpisift_field_bytes(&fs->fields[f]);
  block = (size_t)fs->block * row + (size_t)fs->n_fields * 64;
  return (size_t)((double)fs->reading.cache_bytes * (double)(file[1].first - file->first) / (double)fs->n) + block;
}

/* Of a file that has changed, rows may be others than those of which the epoch's order tells. */
static bool is_changed(const struct msift_file *file)
{
  const struct stat *now = &file->open->fields[0].route.opened, *then = &file->seen;

  return now->st_size != then->st_size || now->st_mtim.tv_sec != then->st_mtim.tv_sec ||
         now->st_mtim.tv_nsec != then->st_mtim.tv_nsec;
}

static mpisift_status reopen(struct msift_files *fs, struct msift_file *file, struct msift_memory *memory,
                             struct msift_error *error)
{
  const char *names[MPISIFT_MAX_FIELDS];

  list_names(fs, names);
  MSIFT_TRY(open_file(fs, file, names, fs->n_fields, cache_of(fs, file), memory, error));
  if (file->open->n != file[1].first - file->first)
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: it had %lld rows when it was opened first, and has %lld now",
                    file->path, (long long)(file[1].first - file->first), (long long)file->open->n);
  else if (is_changed(file))
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: the file has changed since it was opened first", file->path);
  else
    check_fields(fs, file, error);
  if (error->status != MPISIFT_OK)
    close_file(fs, file, memory);
  return error->status;
}

static struct msift_file *file_of(const struct msift_files *fs, int64_t id)
{
  int low = 0, high = fs->n_files - 1;

  while (low < high) {
    int middle = low + (high - low + 1) / 2;

    if (fs->files[middle].first <= id)
      low = middle;
    else
      high = middle - 1;
  }
  return &fs->files[low];
}

/* Read those of the ids at the front that are in the same file: their number, or 0 with an error. */
static int64_t read_run(struct msift_files *fs, int64_t n, const int64_t *ids, void *const *dst,
                        struct msift_memory *memory, struct msift_error *error)
{
  struct msift_file *file = file_of(fs, ids[0]);
  int64_t rows[PIECE], run = 0;

  file->used = ++fs->clock;
  if (file->open == NULL && reopen(fs, file, memory, error) != MPISIFT_OK)
    return 0;
  while (run < n && run < PIECE && ids[run] >= file->first && ids[run] < file[1].first) {
    rows[run] = ids[run] - file->first;
    run++;
  }
  return msift_dataset_read(file->open, run, rows, dst, memory, error) == MPISIFT_OK ? run : 0;
}

mpisift_status msift_files_read(struct msift_files *fs, int64_t n, const int64_t *ids, void *const *dst,
                                struct msift_memory *memory, struct msift_error *error)
{
  void *to[MPISIFT_MAX_FIELDS];

  if (fs->n_files == 1)
    return msift_dataset_read(fs->files[0].open, n, ids, dst, memory, error);
  for (int64_t i = 0, run; i < n; i += run) {
    for (int f = 0; f < fs->n_fields; f++)
      to[f] = (unsigned char *)dst[f] + (size_t)i * mpisift_field_bytes(&fs->fields[f]);
    run = read_run(fs, n - i, ids + i, to, memory, error);
    if (run == 0)
      return error->status;
  }
  return MPISIFT_OK;
}

void msift_files_prefetch(struct msift_files *fs, int64_t n, const int64_t *ids, struct msift_memory *memory)
{
  if (fs->reads_ahead)
    msift_dataset_prefetch(fs->files[0].open, n, ids, memory);
}
