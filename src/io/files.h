/* HDF5 files read one after the other as one data set: the same fields of the same group of each. Their blocks share
 * one cache a field, one set of readers, and what decodes. Blocks stay when their file is closed. */
#ifndef MSIFT_IO_FILES_H
#define MSIFT_IO_FILES_H

#include "io/cache.h"
#include "io/notes.h"

enum { MSIFT_FILES_OPEN = 256 }; /* files open at a time, at most */

/* A field's blocks of a file. */
struct msift_span {
  int64_t first, rows; /* number of the first; rows of one */
};

struct msift_file {
  char *path;
  int64_t first;              /* id of its first row */
  struct msift_dataset *open; /* NULL: not open now */
  struct stat seen;           /* the file, as it was at first */
  int64_t used;               /* when it was read last */
  bool by_row;                /* in this call rows were read one by one */
  struct msift_span blocks[MPISIFT_MAX_FIELDS];
};

/* Rows wanted of a block that is not there yet. */
struct msift_group {
  int64_t block, first, last; /* the rows' places among those wanted */
  int32_t place;              /* of the block in the cache; negative: none */
};

/* How files are to be read. */
struct msift_reading {
  size_t cache_bytes; /* memory for blocks and for what decodes */
  int threads;
  int64_t prefetch; /* most blocks of a field that are read ahead */
  bool unlocked;    /* files are opened without locking them */
};

struct msift_files {
  int n_files;
  struct msift_file *files; /* [n_files + 1]; the last is none, and begins at n */
  int n_open, max_open;
  int64_t clock; /* counts uses of files */
  char *group;
  struct msift_reading reading;
  int64_t n, block;
  int n_fields;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  char names[MPISIFT_MAX_FIELDS][MSIFT_NAME];
  struct msift_cache caches[MPISIFT_MAX_FIELDS];
  bool located;                 /* rows of some field are read with pread */
  size_t decodes;               /* bytes of the largest chunk that has to be decoded */
  struct msift_scratch scratch; /* of the caller's thread */
  struct msift_readers readers;

  /* Of the rows that are gathered. */
  int64_t capacity;
  int64_t *next; /* place of the next row wanted of the same block, or −1 */
  struct msift_group *groups;
};

/* Local. Each path is a file, or a pattern as of glob(7) for files in the order of their names. On failure nothing is
 * left behind. Notes, or NULL, are written, or files opened by them. */
mpisift_status msift_files_open(struct msift_files *files, const char *const *paths, int n_paths, const char *group,
                                const char *const *names, int n_names, const struct msift_reading *reading,
                                struct msift_notes *notes, struct msift_memory *memory, struct msift_error *error);
void msift_files_close(struct msift_files *files, struct msift_memory *memory);

/* The file that holds a row. */
struct msift_file *msift_file_of(const struct msift_files *files, int64_t id);

/* Have a file open, for which others may be closed. */
mpisift_status msift_file_use(struct msift_files *files, struct msift_file *file, struct msift_memory *memory,
                              struct msift_error *error);

/* Copy samples ids[0..n) to dst[f], [n][field f]. */
mpisift_status msift_files_read(struct msift_files *files, int64_t n, const int64_t *ids, void *const *dst,
                                struct msift_memory *memory, struct msift_error *error);

/* Have the readers begin with the blocks of samples that will be read next. Cannot fail: what goes wrong is met when
 * they are read. */
void msift_files_prefetch(struct msift_files *files, int64_t n, const int64_t *ids, struct msift_memory *memory);

#endif
