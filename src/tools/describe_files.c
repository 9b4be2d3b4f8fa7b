#include "tools/describe_files.h"

#include "tools/tool.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The paths that a name stands for, as the library reads it: itself, or as a pattern, sorted by the bytes of the names.
 */
typedef struct path_list {
  glob_t found;
  bool is_pattern;
  size_t n;
} path_list;

static int compare_paths(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_paths(path_list *list, const char *name)
{
  *list = (path_list){.n = 1};
  if (!strpbrk(name, "*?[") || access(name, F_OK) == 0)
    return;
  list->is_pattern = true;
  list->n = glob(name, GLOB_NOSORT, NULL, &list->found) == 0 ? list->found.gl_pathc : 0;
  if (list->n > 0)
    qsort(list->found.gl_pathv, list->n, sizeof *list->found.gl_pathv, compare_paths);
}

static void release_paths(path_list *list)
{
  if (list->is_pattern)
    globfree(&list->found);
}

bool describe_is_file(const char *name)
{
  struct stat status;
  path_list list;

  list_paths(&list, name);
  bool is_file = list.is_pattern ? list.n > 0 : stat(name, &status) == 0 && S_ISREG(status.st_mode);
  release_paths(&list);
  return is_file;
}

static bool memory_error(void)
{
  tool_error("out of memory");
  return false;
}

/* Attributes of the first file stay where the others agree. */
static bool merge_attributes(described_attributes *to, const described_attributes *from)
{
  for (int i = 0; i < to->n; i++) {
    bool same = false;

    for (int j = 0; j < from->n && !same; j++)
      same =
          strcmp(to->items[i].name, from->items[j].name) == 0 && strcmp(to->items[i].value, from->items[j].value) == 0;
    if (same)
      continue;
    char *text = strdup("(differs between files)");
    if (!text)
      return memory_error();
    free(to->items[i].value);
    to->items[i].value = text;
    to->items[i].is_number = false;
  }
  return true;
}

/* Labels are counted in both, or not at all. */
static bool merge_classes(described_field *to, const described_field *from)
{
  int n = 0, i = 0, j = 0;
  described_class *merged;

  if (to->n_classes == 0 || from->n_classes == 0) {
    to->n_classes = 0;
    return true;
  }
  merged = calloc((size_t)to->n_classes + (size_t)from->n_classes, sizeof *merged);
  if (!merged)
    return memory_error();
  while (i < to->n_classes || j < from->n_classes) {
    bool first = j == from->n_classes || (i < to->n_classes && to->classes[i].label <= from->classes[j].label);
    const described_class *next = first ? &to->classes[i++] : &from->classes[j++];

    if (n > 0 && merged[n - 1].label == next->label)
      merged[n - 1].count += next->count;
    else
      merged[n++] = *next;
  }
  free(to->classes);
  to->classes = merged;
  to->n_classes = n <= DESCRIBE_MAX_CLASSES ? n : 0;
  return true;
}

static bool same_storage(const described_field *a, const described_field *b)
{
  bool same = strcmp(a->layout, b->layout) == 0 && a->n_filters == b->n_filters && a->chunk_ndim == b->chunk_ndim;

  for (int i = 0; same && i < a->n_filters; i++)
    same = strcmp(a->filters[i], b->filters[i]) == 0;
  /* Chunks are not longer than the file has rows. */
  return same;
}

static bool merge_field(described_field *to, const described_field *from)
{
  to->dims[0] += from->dims[0];
  to->raw_bytes += from->raw_bytes;
  to->stored_bytes += from->stored_bytes;
  to->problem = to->problem ? to->problem : from->problem;
  if (!same_storage(to, from)) {
    to->layout = "stored in several ways";
    to->n_filters = to->chunk_ndim = 0;
  }
  return merge_classes(to, from) && merge_attributes(&to->attributes, &from->attributes);
}

/* What the fields of two files must share. */
static bool check_field(const description *d, const char *path, const described_group *g, const described_field *a,
                        const described_field *b)
{
  if (!b) {
    tool_error("'%s': group '%s' has no field '%s', but it has in '%s'", path, g->path, a->name, d->path);
    return false;
  }
  if (strcmp(a->type, b->type) == 0 && a->ndim == b->ndim &&
      (a->ndim < 2 || memcmp(a->dims + 1, b->dims + 1, (size_t)(a->ndim - 1) * sizeof a->dims[0]) == 0))
    return true;
  tool_error("'%s': field '%s' of group '%s' has another type or shape of a sample than in '%s'", path, a->name,
             g->path, d->path);
  return false;
}

static const described_field *find_field(const described_group *g, const char *name)
{
  for (int f = 0; f < g->n_fields; f++) {
    if (strcmp(g->fields[f].name, name) == 0)
      return &g->fields[f];
  }
  return NULL;
}

static bool merge_group(const description *d, described_group *to, const description *other,
                        const described_group *from)
{
  for (int f = 0; f < to->n_fields; f++) {
    const described_field *same = find_field(from, to->fields[f].name);

    if (!check_field(d, other->path, to, &to->fields[f], same) || !merge_field(&to->fields[f], same))
      return false;
  }
  for (int f = 0; f < from->n_fields; f++) {
    if (!find_field(to, from->fields[f].name))
      return check_field(other, d->path, from, &from->fields[f], NULL);
  }
  to->rows = to->rows < 0 || from->rows < 0 ? -1 : to->rows + from->rows;
  return merge_attributes(&to->attributes, &from->attributes);
}

/* A group that only one of the files has is taken over as it is. */
static bool take_group(description *d, described_group *from)
{
  described_group *groups = realloc(d->groups, ((size_t)d->n_groups + 1) * sizeof *groups);

  if (!groups)
    return memory_error();
  d->groups = groups;
  groups[d->n_groups++] = *from;
  *from = (described_group){0};
  return true;
}

static bool merge(description *d, description *other)
{
  for (int i = 0; i < other->n_groups; i++) {
    described_group *from = &other->groups[i], *to = NULL;

    for (int j = 0; j < d->n_groups && !to; j++)
      to = strcmp(d->groups[j].path, from->path) == 0 ? &d->groups[j] : NULL;
    if (!(to ? merge_group(d, to, other, from) : take_group(d, from)))
      return false;
  }
  return merge_attributes(&d->attributes, &other->attributes);
}

static bool add_file(description *d, const char *path, const char *group)
{
  description other;

  if (d->n_files == 0)
    return describe_file(d, path, group);
  bool ok = describe_file(&other, path, group) && merge(d, &other);
  describe_release(&other);
  d->n_files++;
  return ok;
}

bool describe_files(description *d, int n, char *const *names, const char *group)
{
  bool ok = true;

  *d = (description){0};
  for (int i = 0; i < n && ok; i++) {
    path_list list;

    list_paths(&list, names[i]);
    if (list.n == 0) {
      tool_error("no file matches '%s'", names[i]);
      ok = false;
    }
    for (size_t k = 0; k < list.n && ok; k++)
      ok = add_file(d, list.is_pattern ? list.found.gl_pathv[k] : names[i], group);
    release_paths(&list);
  }
  return ok;
}
