#include "io/files.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/fetch.h"

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

/* The readers let go of what they were to read of a file. */
static void settle(struct msift_files *fs, const struct msift_file *file)
{
  for (int f = 0; f < fs->n_fields; f++)
    for (int32_t i = 0; i < fs->caches[f].n_cached; i++) {
      struct msift_cached *p = &fs->caches[f].cached[i];
      int state = atomic_load(&p->state);

      if (p->file != file || (state != MSIFT_QUEUED && state != MSIFT_READING))
        continue;
      if (!msift_readers_cancel(&fs->readers, p))
        msift_readers_wait(&fs->readers, p, &fs->scratch);
    }
}

static void close_file(struct msift_files *fs, struct msift_file *file, struct msift_memory *memory)
{
  if (file->open == NULL)
    return;
  if (fs->readers.n > 0)
    settle(fs, file);
  msift_dataset_close(file->open, memory);
  msift_free(memory, &file->open);
  fs->n_open--;
}

/* What was read row by row was read of the file that was opened, or is of no use. */
static mpisift_status close_oldest(struct msift_files *fs, struct msift_memory *memory, struct msift_error *error)
{
  struct msift_file *oldest = NULL;
  struct msift_fault fault;

  for (int i = 0; i < fs->n_files; i++) {
    struct msift_file *file = &fs->files[i];

    if (file->open != NULL && (oldest == NULL || file->used < oldest->used))
      oldest = file;
  }
  if (oldest->by_row && !msift_fetch_unchanged(&oldest->open->fields[0], &fault))
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: %s", oldest->path, fault.what);
  oldest->by_row = false;
  close_file(fs, oldest, memory);
  return error->status;
}

static mpisift_status open_file(struct msift_files *fs, struct msift_file *file, const char *const *names, int n_names,
                                struct msift_notes *notes, struct msift_memory *memory, struct msift_error *error)
{
  while (fs->n_open >= fs->max_open)
    MSIFT_TRY(close_oldest(fs, memory, error));
  file->open = msift_alloc(memory, error, 1, sizeof *file->open);
  if (file->open == NULL)
    return error->status;
  if (!msift_notes_open(notes, file->path, file->open, &fs->scratch, memory, error) && error->status == MPISIFT_OK)
    msift_dataset_open(file->open, file->path, fs->group, names, n_names, fs->reading.unlocked, &fs->scratch, memory,
                       error);
  if (error->status == MPISIFT_OK)
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

/* The blocks of a file follow those of the files before it. */
static mpisift_status number_blocks(struct msift_files *fs, struct msift_file *file, struct msift_error *error)
{
  const struct msift_dataset *d = file->open;

  for (int f = 0; f < fs->n_fields; f++) {
    const struct msift_h5_field *field = &d->fields[f];
    struct msift_cache *c = &fs->caches[f];

    file->blocks[f] = (struct msift_span){c->n_blocks, field->block};
    c->n_blocks += (d->n + field->block - 1) / field->block;
    if (c->n_blocks > INT32_MAX)
      return msift_error_set(error, MPISIFT_ERR_DATA, "%s: field %s has more than 2^31 chunks; store larger ones",
                             d->path, field->name);
    c->rows = field->block > c->rows ? field->block : c->rows;
    c->bytes = (size_t)c->rows * field->bytes;
    c->whole = c->whole || field->route.why != NULL || field->route.filters.n > 0;
    fs->located = fs->located || field->route.why == NULL;
  }
  return MPISIFT_OK;
}

/* Learn from a file what it holds. Of several files none stays open: a rank may not need it. */
static mpisift_status look_into(struct msift_files *fs, int i, const char *const *names, int n_names,
                                struct msift_notes *notes, struct msift_memory *memory, struct msift_error *error)
{
  struct msift_file *file = &fs->files[i];
  size_t decodes;

  MSIFT_TRY(open_file(fs, file, names, n_names, notes, memory, error));
  if (i == 0)
    take_fields(fs, file->open);
  MSIFT_TRY(check_fields(fs, file, error));
  if (file->open->n > INT64_MAX / 2 - file->first)
    return msift_error_set(error, MPISIFT_ERR_DATA, "%.200s: the files up to this one have too many rows", file->path);
  file[1].first = file->first + file->open->n;
  fs->block = file->open->block > fs->block ? file->open->block : fs->block;
  file->seen = file->open->fields[0].route.opened;
  decodes = msift_dataset_decodes(file->open);
  fs->decodes = decodes > fs->decodes ? decodes : fs->decodes;
  MSIFT_TRY(number_blocks(fs, file, error));
  if (notes != NULL && !notes->taken)
    MSIFT_TRY(msift_notes_write(notes, file->open, fs->n_files == 1, memory, error));
  if (fs->n_files > 1)
    close_file(fs, file, memory);
  return MPISIFT_OK;
}

/* Readers, where there is anything for them to do, and caches in what memory they leave. */
static mpisift_status make_caches(struct msift_files *fs, struct msift_memory *memory, struct msift_error *error)
{
  size_t bytes = fs->reading.cache_bytes, scratch = fs->decodes > 0 ? msift_scratch_bytes(fs->decodes) : 0;

  MSIFT_TRY(msift_readers_start(&fs->readers, fs->located ? fs->reading.threads : 0, fs->decodes, memory, error));
  scratch *= 1 + (size_t)fs->readers.n;
  return msift_caches_init(fs->caches, fs->n_fields, bytes > scratch ? bytes - scratch : 0, memory, error);
}

static mpisift_status open_all(struct msift_files *fs, const char *const *paths, int n_paths, const char *const *names,
                               int n_names, struct msift_notes *notes, struct msift_memory *memory,
                               struct msift_error *error)
{
  const char *found[MPISIFT_MAX_FIELDS];

  MSIFT_TRY(list_files(fs, paths, n_paths, memory, error));
  fs->max_open = most_open();
  MSIFT_TRY(look_into(fs, 0, names, n_names, notes, memory, error));
  list_names(fs, found);
  for (int i = 1; i < fs->n_files; i++)
    MSIFT_TRY(look_into(fs, i, found, fs->n_fields, notes, memory, error));
  fs->n = fs->files[fs->n_files].first;
  return make_caches(fs, memory, error);
}

mpisift_status msift_files_open(struct msift_files *fs, const char *const *paths, int n_paths, const char *group,
                                const char *const *names, int n_names, const struct msift_reading *reading,
                                struct msift_notes *notes, struct msift_memory *memory, struct msift_error *error)
{
  int64_t size = (int64_t)strlen(group) + 1;

  *fs = (struct msift_files){.reading = *reading};
  fs->group = msift_alloc(memory, error, size, 1);
  if (fs->group != NULL) {
    memcpy(fs->group, group, (size_t)size);
    open_all(fs, paths, n_paths, names, n_names, notes, memory, error);
  }
  if (error->status != MPISIFT_OK)
    msift_files_close(fs, memory);
  return error->status;
}

void msift_files_close(struct msift_files *fs, struct msift_memory *memory)
{
  msift_readers_stop(&fs->readers, memory);
  for (int i = 0; i < fs->n_files; i++) {
    close_file(fs, &fs->files[i], memory);
    msift_free(memory, &fs->files[i].path);
  }
  for (int f = 0; f < fs->n_fields; f++)
    msift_cache_destroy(&fs->caches[f], memory);
  msift_scratch_destroy(&fs->scratch, memory);
  msift_free(memory, &fs->next);
  msift_free(memory, &fs->groups);
  msift_free(memory, &fs->files);
  msift_free(memory, &fs->group);
  fs->n_files = fs->n_fields = 0;
}

/* Of a file that has changed, rows may be others than those of which the epoch's order tells. */
static bool is_changed(const struct msift_files *fs, const struct msift_file *file)
{
  const struct stat *now = &file->open->fields[0].route.opened, *then = &file->seen;
  bool same = now->st_size == then->st_size && now->st_mtim.tv_sec == then->st_mtim.tv_sec &&
              now->st_mtim.tv_nsec == then->st_mtim.tv_nsec && msift_dataset_decodes(file->open) <= fs->decodes;

  for (int f = 0; f < fs->n_fields; f++)
    same = same && file->open->fields[f].block == file->blocks[f].rows;
  return !same;
}

static mpisift_status reopen(struct msift_files *fs, struct msift_file *file, struct msift_memory *memory,
                             struct msift_error *error)
{
  const char *names[MPISIFT_MAX_FIELDS];

  list_names(fs, names);
  MSIFT_TRY(open_file(fs, file, names, fs->n_fields, NULL, memory, error));
  if (file->open->n != file[1].first - file->first)
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: it had %lld rows when it was opened first, and has %lld now",
                    file->path, (long long)(file[1].first - file->first), (long long)file->open->n);
  else if (is_changed(fs, file))
    msift_error_set(error, MPISIFT_ERR_IO, "%.200s: the file has changed since it was opened first", file->path);
  else
    check_fields(fs, file, error);
  if (error->status != MPISIFT_OK)
    close_file(fs, file, memory);
  return error->status;
}

mpisift_status msift_file_use(struct msift_files *fs, struct msift_file *file, struct msift_memory *memory,
                              struct msift_error *error)
{
  file->used = ++fs->clock;
  return file->open != NULL ? MPISIFT_OK : reopen(fs, file, memory, error);
}

struct msift_file *msift_file_of(const struct msift_files *fs, int64_t id)
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
