/* The blocks of a field that are held in memory, of all files. */
#ifndef MSIFT_IO_CACHE_H
#define MSIFT_IO_CACHE_H

#include <stdatomic.h>

#include "io/readers.h"

struct msift_file;
struct msift_h5_field;

/* What is in a place of the cache. */
enum msift_cached_state {
  MSIFT_VACANT,
  MSIFT_QUEUED,  /* for the readers; */
  MSIFT_READING, /* what it holds is theirs */
  MSIFT_READY,
  MSIFT_FAILED,
  MSIFT_NOTED /* nothing: rows of this block are read one by one */
};

/* The caller's thread owns all but what is queued or being read, and the queue's links. */
struct msift_cached {
  unsigned char *memory, *rows; /* rows: aligned */
  int64_t block;
  int32_t newer, older; /* neighbours in the order of use; −1: none */
  bool pinned;          /* does not give way: its rows are still wanted */
  int64_t group;        /* of rows that wait for it; −1: none */
  int64_t used, taken;  /* rows copied from it, in all, and since all were last */
  int64_t announced;    /* for the read of this number; others: not, or it is over */
  struct msift_file *file;

  /* To be read. */
  atomic_int state;
  const struct msift_h5_field *field; /* of its file, while that is open */
  int64_t first, n;                   /* rows of the file */
  struct msift_fault fault;           /* what: NULL unless reading failed */
  double seconds;                     /* that it took; 0: not known */
  struct msift_cached *before, *behind;
};

/* Blocks whose rows were all used give way, then the least recently used. */
struct msift_cache {
  int64_t n_blocks; /* of the field, in all files */
  int64_t rows;     /* of the largest block, */
  size_t bytes;     /* which has so many */
  bool whole;       /* in some file they have to be read whole */
  struct msift_cached *cached;
  int32_t *place; /* [n_blocks]: index in `cached`, or −1; while rows are gathered, −2 − index of a group */
  int32_t n_cached, max_cached, newest, oldest;
  int64_t reads, n_begun; /* calls that read; the next is counted. Blocks for which a place was made */
  double seconds;         /* to read a block, of late; 0: not known yet */
  bool by_row;            /* rows are read one by one, as few of a block are wanted while it is held */
  bool wasteful;          /* few rows were used of the last blocks that gave way */
  int64_t n_left, n_left_rows, n_left_used; /* blocks that gave way since that was last judged, with their rows */
};

/* Lay out the blocks of n fields for a budget of bytes that they share; a block of each is held in any case. */
mpisift_status msift_caches_init(struct msift_cache *caches, int n, size_t bytes, struct msift_memory *memory,
                                 struct msift_error *error);
void msift_cache_destroy(struct msift_cache *cache, struct msift_memory *memory);

/* Say that a place is in use. */
void msift_cache_touch(struct msift_cache *cache, int32_t i);

/* Say that rows were copied from a place. */
void msift_cache_use(struct msift_cache *cache, struct msift_cached *cached, int64_t rows);

/* Whether reading a block takes longer than having a thread read it costs. */
bool msift_cache_is_slow(const struct msift_cache *cache);

/* A place for a block, which it names: a new one within the budget, else the least recently used that is neither pinned
 * nor being read. −1: all are. */
int32_t msift_cache_claim(struct msift_cache *cache, int64_t block, struct msift_readers *readers);

/* The same for a block that is wanted later: what is announced for the next read does not give way either. */
int32_t msift_cache_claim_ahead(struct msift_cache *cache, int64_t block, struct msift_readers *readers);

/* Say that a place is wanted in the next read. */
void msift_cache_announce(struct msift_cache *cache, int32_t i);

/* Give a place that holds nothing of use back. */
void msift_cache_drop(struct msift_cache *cache, int32_t i);

/* Memory for the rows of a place. */
mpisift_status msift_cache_room(struct msift_cache *cache, int32_t i, struct msift_memory *memory,
                                struct msift_error *error);

#endif
