#include "io/notes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/fetch.h"

/* Before what is told of a file. */
struct head {
  int64_t bytes; /* behind it; 0: nothing is told */
  int n_fields;
  bool chunks;
};

/* Nodes number the devices of a file system as they like. */
static bool is_same(const struct stat *a, const struct stat *b)
{
  return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Whether all rows are in the file itself, not behind a link to another, and read without HDF5. */
static bool is_located(const struct msift_dataset *d)
{
  struct stat status;
  bool located = fstat(d->fields[0].route.descriptor, &status) == 0 && stat(d->path, &status) == 0;

  for (int f = 0; f < d->n_fields && located; f++)
    located = msift_fetch_located(&d->fields[f], 0, d->n) && is_same(&d->fields[f].route.opened, &status) &&
              d->fields[f].route.opened.st_dev == status.st_dev;
  return located;
}

static size_t dataset_bytes(int n_fields)
{
  return offsetof(struct msift_dataset, fields) + (size_t)n_fields * sizeof(struct msift_h5_field);
}

static int64_t noted_bytes(const struct msift_dataset *d, bool chunks)
{
  int64_t bytes = (int64_t)dataset_bytes(d->n_fields);

  for (int f = 0; f < d->n_fields && chunks; f++)
    bytes += d->fields[f].route.n_chunks * (int64_t)sizeof(struct msift_extent);
  return bytes;
}

/* Of a field without chunks there are none, nor a place where they are. */
static void put(struct msift_notes *notes, const void *from, size_t bytes)
{
  if (bytes > 0)
    memcpy(notes->bytes + notes->n, from, bytes);
  notes->n += (int64_t)bytes;
}

mpisift_status msift_notes_write(struct msift_notes *notes, const struct msift_dataset *d, bool chunks,
                                 struct msift_memory *memory, struct msift_error *error)
{
  struct head head = {.n_fields = d->n_fields, .chunks = chunks};
  int64_t room;

  head.bytes = is_located(d) ? noted_bytes(d, chunks) : 0;
  room = notes->n + (int64_t)sizeof head + head.bytes;
  if (room > notes->capacity) {
    MSIFT_TRY(msift_resize(memory, error, &notes->bytes, 2 * room, 1));
    notes->capacity = 2 * room;
  }
  put(notes, &head, sizeof head);
  if (head.bytes == 0)
    return MPISIFT_OK;
  put(notes, d, dataset_bytes(d->n_fields));
  for (int f = 0; f < d->n_fields && chunks; f++)
    put(notes, d->fields[f].route.chunks, (size_t)d->fields[f].route.n_chunks * sizeof(struct msift_extent));
  return MPISIFT_OK;
}

/* What holds in this process. */
static void settle(struct msift_dataset *d, const char *path, int descriptor)
{
  snprintf(d->path, sizeof d->path, "%s", path);
  d->file = d->group = H5I_INVALID_HID;
  d->descriptor = descriptor;
  for (int f = 0; f < d->n_fields; f++) {
    struct msift_h5_field *field = &d->fields[f];

    field->field.name = field->name;
    field->data = field->memory_type = H5I_INVALID_HID;
    field->route.descriptor = descriptor;
    field->route.chunks = NULL;
    fstat(descriptor, &field->route.opened);
  }
}

static mpisift_status take_chunks(struct msift_dataset *d, const unsigned char *from, struct msift_memory *memory,
                                  struct msift_error *error)
{
  for (int f = 0; f < d->n_fields; f++) {
    struct msift_route *r = &d->fields[f].route;
    size_t bytes = (size_t)r->n_chunks * sizeof *r->chunks;

    if (r->chunk == 0)
      continue;
    r->chunks = msift_alloc(memory, error, r->n_chunks, sizeof *r->chunks);
    if (r->chunks == NULL)
      return error->status;
    memcpy(r->chunks, from, bytes);
    from += bytes;
  }
  return MPISIFT_OK;
}

/* The file that is told of, opened; −1: another is here, or none. */
static int open_noted(const struct msift_dataset *d, const char *path)
{
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status;

  if (descriptor >= 0 && (fstat(descriptor, &status) != 0 || !is_same(&status, &d->fields[0].route.opened))) {
    close(descriptor);
    descriptor = -1;
  }
  return descriptor;
}

bool msift_notes_open(struct msift_notes *notes, const char *path, struct msift_dataset *d,
                      struct msift_scratch *scratch, struct msift_memory *memory, struct msift_error *error)
{
  const unsigned char *from;
  struct head head;
  int descriptor;

  if (notes == NULL || !notes->taken || notes->at == notes->n)
    return false;
  from = notes->bytes + notes->at + sizeof head;
  memcpy(&head, notes->bytes + notes->at, sizeof head);
  notes->at += (int64_t)sizeof head + head.bytes;
  if (head.bytes == 0)
    return false;
  memcpy(d, from, dataset_bytes(head.n_fields));
  descriptor = open_noted(d, path);
  if (descriptor < 0)
    return false;
  settle(d, path, descriptor);
  if (head.chunks)
    take_chunks(d, from + dataset_bytes(head.n_fields), memory, error);
  if (error->status == MPISIFT_OK)
    msift_scratch_fit(scratch, msift_dataset_decodes(d), memory, error);
  if (error->status != MPISIFT_OK)
    msift_dataset_close(d, memory);
  return error->status == MPISIFT_OK;
}
