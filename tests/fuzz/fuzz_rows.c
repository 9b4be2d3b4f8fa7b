/* Files of rows of any layout: what is opened is read as its bytes are, and nothing beyond them. */
#include <mpi.h>
#include <mpisift/mpisift.h>

#include "fuzz.h"

static mpisift_ctx *ctx;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  mpisift_team team;

  MPI_Init(argc, argv);
  team = (mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  MUST(mpisift_open(&team, NULL, NULL, 0, &ctx) == MPISIFT_OK);
  return 0;
}

static int64_t take_small(struct bytes *b)
{
  return take_below(b, 16) == 0 ? take_long(b) : (int64_t)take_below(b, 64);
}

static void take_fields(struct bytes *b, mpisift_row_files *files, mpisift_field *fields, int64_t *offsets)
{
  static const char *const names[MPISIFT_MAX_FIELDS] = {"a", "b", "c"};

  files->n_fields = (int)take_below(b, 4);
  for (int f = 0; f < files->n_fields; f++) {
    fields[f] =
        (mpisift_field){.name = names[f], .type = (mpisift_type)take_below(b, 13), .ndim = (int)take_below(b, 3)};
    for (int d = 0; d < fields[f].ndim && d < MPISIFT_MAX_DIMS; d++)
      fields[f].shape[d] = take_below(b, 32) == 0 ? take_long(b) : (int64_t)take_below(b, 5);
    offsets[f] = take_small(b);
  }
  files->fields = fields;
  files->offsets = take_below(b, 2) ? offsets : NULL;
}

/* A value of the file in this machine's byte order. */
static void check_value(const mpisift_row_files *files, const unsigned char *value, const unsigned char *from,
                        size_t size)
{
  for (size_t k = 0; k < size; k++)
    MUST(value[k] == from[files->order == MPISIFT_BIG_ENDIAN ? size - 1 - k : k]);
}

static void check_rows(const mpisift_row_files *files, const mpisift_source *s, const struct bytes *contents,
                       int64_t id)
{
  void *dst[MPISIFT_MAX_FIELDS];
  int64_t ids[] = {id, id + 1 < s->n ? id + 1 : 0, id}, per_file = s->n / files->n_paths;

  for (int f = 0; f < s->n_fields; f++)
    dst[f] = malloc(3 * mpisift_field_bytes(&s->fields[f]));
  MUST(s->read(s->user, 3, ids, dst) == 0);
  for (int f = 0, behind = 0; f < s->n_fields; f++) {
    size_t bytes = mpisift_field_bytes(&s->fields[f]), size = mpisift_type_size(s->fields[f].type);
    int64_t offset = files->offsets ? files->offsets[f] : behind;

    for (int64_t i = 0; i < 3; i++)
      for (size_t e = 0; e < bytes; e += size)
        check_value(files, (unsigned char *)dst[f] + (size_t)i * bytes + e,
                    contents->data + files->header + ids[i] % per_file * files->stride + offset + e, size);
    behind += (int)bytes;
    free(dst[f]);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct bytes b = {data, size};
  char path[64];
  const char *paths[2] = {path, path};
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  int64_t offsets[MPISIFT_MAX_FIELDS], id;
  mpisift_rows *rows = NULL;
  mpisift_row_files files = {.paths = paths, .n_paths = 1 + (int)take_below(&b, 2)};

  files.header = take_small(&b);
  files.stride = take_small(&b);
  files.row = take_small(&b);
  files.block = take_small(&b);
  files.order = (mpisift_byte_order)take_below(&b, 3);
  take_fields(&b, &files, fields, offsets);
  id = take(&b);

  int file = memory_file(b.data, b.size, path);
  if (mpisift_rows_open(ctx, &files, &rows) == MPISIFT_OK) {
    mpisift_source s = mpisift_rows_source(rows);

    MUST(s.n > 0 && s.n % files.n_paths == 0);
    check_rows(&files, &s, &b, id % s.n);
    mpisift_rows_close(&rows);
  } else {
    MUST(rows == NULL && mpisift_error(ctx)[0] != '\0');
  }
  close(file);
  return 0;
}
