#include "tools/describe.h"

#include "tools/describe_field.h"
#include "tools/h5.h"
#include "tools/tool.h"
#include "tools/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <mpisift/mpisift.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool memory_error(void)
{
  tool_error("out of memory");
  return false;
}

/* Bounds of the work, which links can make grow without end. */
enum { MAX_DEPTH = 8, MAX_OBJECTS = 10000 };

typedef struct walk {
  description *d;
  int objects;
  hid_t open[MAX_DEPTH + 1]; /* the group at each depth on the way to the current one */
} walk;

static bool object_error(const description *d, const char *path)
{
  tool_error("cannot read '%s' of '%s': %s", path, d->path, h5_reason());
  return false;
}

static char *join(const char *group, const char *name)
{
  size_t size = strlen(group) + strlen(name) + 2;
  char *path = malloc(size);

  if (path)
    snprintf(path, size, "%s%s%s", group, group[1] ? "/" : "", name);
  return path;
}

static char *link_name(hid_t group, hsize_t i)
{
  ssize_t length = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, NULL, 0, H5P_DEFAULT);
  char *name = length < 0 ? NULL : malloc((size_t)length + 1);

  if (name)
    H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, (size_t)length + 1, H5P_DEFAULT);
  return name;
}

static bool add_field(description *d, described_group *g, hid_t dataset, const char *name)
{
  described_field *fields = realloc(g->fields, (size_t)(g->n_fields + 1) * sizeof *fields);

  if (!fields)
    return memory_error();
  g->fields = fields;
  g->fields[g->n_fields] = (described_field){0};
  described_field *f = &g->fields[g->n_fields++];
  if (!describe_field(f, dataset, name))
    return false;
  if (!f->problem && mpisift_dataset_explain(d->path, g->path, name, f->reading, sizeof f->reading) != MPISIFT_OK)
    f->problem = "it cannot be read";
  return true;
}

/* Rows are those that all usable fields share. */
static int64_t common_rows(const described_group *g)
{
  int64_t rows = -1;

  for (int f = 0; f < g->n_fields; f++) {
    int64_t own = (int64_t)g->fields[f].dims[0];

    if (g->fields[f].problem)
      continue;
    if (rows >= 0 && own != rows)
      return -1;
    rows = own;
  }
  return rows;
}

static bool add_group(description *d, hid_t group, described_group *g)
{
  described_group *groups = realloc(d->groups, (size_t)(d->n_groups + 1) * sizeof *groups);

  if (!groups)
    return memory_error();
  d->groups = groups;
  g->rows = common_rows(g);
  bool ok = describe_attributes(&g->attributes, group);
  d->groups[d->n_groups++] = *g;
  *g = (described_group){0};
  return ok;
}

static void release_attributes(described_attributes *list)
{
  for (int i = 0; i < list->n; i++) {
    free(list->items[i].name);
    free(list->items[i].value);
  }
  free(list->items);
}

static void release_group(described_group *g)
{
  for (int f = 0; f < g->n_fields; f++) {
    free(g->fields[f].name);
    free(g->fields[f].classes);
    release_attributes(&g->fields[f].attributes);
  }
  free(g->fields);
  free(g->path);
  release_attributes(&g->attributes);
}

static bool walk_group(walk *w, hid_t group, const char *path, int depth);

static bool is_cycle(const walk *w, hid_t group, int depth)
{
  for (int d = 0; d <= depth; d++) {
    if (h5_same_object(w->open[d], group))
      return true;
  }
  return false;
}

/* A data set becomes a field of its group; a group is walked later, by the second pass. */
static bool visit(walk *w, described_group *g, hid_t group, hsize_t i, int depth, H5I_type_t wanted)
{
  char *name = link_name(group, i), *path = name ? join(g->path, name) : NULL;
  hid_t object = path ? H5Oopen(group, name, H5P_DEFAULT) : -1;
  bool ok = object >= 0 || object_error(w->d, path ? path : g->path);

  if (ok && H5Iget_type(object) == wanted) {
    if (wanted == H5I_DATASET)
      ok = add_field(w->d, g, object, name);
    else if (!is_cycle(w, object, depth))
      ok = walk_group(w, object, path, depth + 1);
  }
  if (object >= 0)
    H5Oclose(object);
  free(path);
  free(name);
  return ok;
}

static bool visit_all(walk *w, described_group *g, hid_t group, int depth, H5I_type_t wanted)
{
  H5G_info_t info;

  if (H5Gget_info(group, &info) < 0)
    return object_error(w->d, g->path);
  for (hsize_t i = 0; i < info.nlinks; i++) {
    if (++w->objects > MAX_OBJECTS) {
      tool_error("'%s' has more than %d objects; name a group to describe", w->d->path, MAX_OBJECTS);
      return false;
    }
    watch_beat();
    if (!visit(w, g, group, i, depth, wanted))
      return false;
  }
  return true;
}

static bool walk_group(walk *w, hid_t group, const char *path, int depth)
{
  described_group g = {.path = strdup(path)};
  bool ok = (g.path || memory_error()) && visit_all(w, &g, group, depth, H5I_DATASET);

  w->open[depth] = group;
  if (ok && g.n_fields > 0)
    ok = add_group(w->d, group, &g);
  release_group(&g);
  g = (described_group){.path = strdup(path)};
  if (ok && depth < MAX_DEPTH)
    ok = (g.path || memory_error()) && visit_all(w, &g, group, depth, H5I_GROUP);
  release_group(&g);
  return ok;
}

/* The system's reasons are clearer than HDF5's. */
static bool check_path(const char *path)
{
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  if (fd < 0 || fstat(fd, &status) != 0) {
    tool_error("cannot open '%s': %s", path, strerror(errno));
    if (fd >= 0)
      close(fd);
    return false;
  }
  close(fd);
  if (S_ISREG(status.st_mode))
    return true;
  tool_error("'%s' is %s, not an HDF5 file", path, S_ISDIR(status.st_mode) ? "a directory" : "a pipe or device");
  return false;
}

static hid_t open_file(const char *path)
{
  if (!check_path(path))
    return -1;
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0)
    tool_error("cannot read '%s' as HDF5 (not HDF5, truncated or damaged?): %s", path, h5_reason());
  return file;
}

static hid_t open_group(hid_t file, const char *path, const char *group)
{
  hid_t object = H5Oopen(file, group, H5P_DEFAULT);

  if (object >= 0 && H5Iget_type(object) == H5I_GROUP)
    return object;
  tool_error("'%s' %s '%s'", path, object < 0 ? "has no group" : "has a field, not a group,", group);
  if (object >= 0)
    H5Oclose(object);
  return -1;
}

bool describe_file(description *d, const char *path, const char *group)
{
  char *full = join("/", group[0] == '/' ? group + 1 : group);
  walk w = {.d = d};

  *d = (description){.path = strdup(path), .n_files = 1};
  hid_t file = full && d->path ? open_file(path) : -1;
  hid_t start = file < 0 ? -1 : open_group(file, path, full);
  bool ok = start >= 0 && describe_attributes(&d->attributes, file);
  ok = ok && walk_group(&w, start, full, 0);
  if (ok && d->n_groups == 0) {
    tool_error("'%s' has no fields (HDF5 data sets) in '%s'", path, full);
    ok = false;
  }
  if (start >= 0)
    H5Oclose(start);
  if (file >= 0)
    H5Fclose(file);
  free(full);
  return ok;
}

void describe_release(description *d)
{
  for (int g = 0; g < d->n_groups; g++)
    release_group(&d->groups[g]);
  free(d->groups);
  release_attributes(&d->attributes);
  free(d->path);
}
