/* What the tests of plain files share: a context, a folder, files of bytes written by rank 0, and refusals. */
#ifndef MPISIFT_ROW_FILES_H
#define MPISIFT_ROW_FILES_H

#include <mpisift/mpisift.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

enum { MOST_FILES = 80 };

struct fixture {
  mpisift_ctx *ctx;
  char folder[96], path[MOST_FILES][128];
  const char *paths[MOST_FILES];
  char logged[512];
};

static inline void keep_line(void *user, int level, const char *text)
{
  (void)level;
  snprintf(((struct fixture *)user)->logged, 512, "%s", text);
}

static inline void begin(struct fixture *f)
{
  const char *parent = getenv("TMPDIR");
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  mpisift_hooks hooks = {.user = f, .log = keep_line};

  memset(f, 0, sizeof *f);
  snprintf(f->folder, sizeof f->folder, "%s/mpisift-XXXXXX", parent == NULL || strlen(parent) > 64 ? "/tmp" : parent);
  if (test_rank == 0)
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->folder));
  MPI_Bcast(f->folder, sizeof f->folder, MPI_CHAR, 0, MPI_COMM_WORLD);
  for (int i = 0; i < MOST_FILES; i++) {
    snprintf(f->path[i], sizeof f->path[i], "%s/%d.bin", f->folder, i);
    f->paths[i] = f->path[i];
  }
  CU_ASSERT_EQUAL_FATAL(mpisift_open(&team, &hooks, NULL, 0, &f->ctx), MPISIFT_OK);
}

static inline void end(struct fixture *f)
{
  CU_ASSERT_EQUAL(mpisift_close(&f->ctx), MPISIFT_OK);
  MPI_Barrier(MPI_COMM_WORLD);
  for (int i = 0; i < MOST_FILES && test_rank == 0; i++)
    unlink(f->path[i]);
  if (test_rank == 0)
    CU_ASSERT_EQUAL(rmdir(f->folder), 0);
}

/* Rank 0 writes a file; all see it. */
static inline void write_bytes(const char *path, const void *bytes, size_t size)
{
  MPI_Barrier(MPI_COMM_WORLD);
  if (test_rank == 0) {
    FILE *file = fopen(path, "wb");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, size, file), size);
    CU_ASSERT_EQUAL(fclose(file), 0);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

static inline int same_everywhere(const char *text)
{
  char first[512];
  int same;

  snprintf(first, sizeof first, "%s", text);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  same = strcmp(first, text) == 0;
  MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
  return same;
}

/* The last call failed alike on all ranks, and the text has a word in it. */
static inline void check_refusal(const struct fixture *f, mpisift_status status, mpisift_status wanted,
                                 const char *word)
{
  CU_ASSERT_EQUAL(status, wanted);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f->ctx), word));
  if (strstr(mpisift_error(f->ctx), word) == NULL)
    fprintf(stderr, "'%s' is not in '%s'\n", word, mpisift_error(f->ctx));
  CU_ASSERT(same_everywhere(mpisift_error(f->ctx)));
}

static inline mpisift_rows *open_rows(const struct fixture *f, const mpisift_row_files *files)
{
  mpisift_rows *rows = NULL;

  CU_ASSERT_EQUAL_FATAL(mpisift_rows_open(f->ctx, files, &rows), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(mpisift_error(f->ctx), "");
  return rows;
}

#endif
