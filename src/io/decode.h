/* Undoing the filters of a chunk: arithmetic on memory, without HDF5, so that any thread can do it. */
#ifndef MSIFT_IO_DECODE_H
#define MSIFT_IO_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

enum msift_filter_kind { MSIFT_SHUFFLE, MSIFT_DEFLATE, MSIFT_FLETCHER32, MSIFT_LZ4, MSIFT_ZSTD };

enum { MSIFT_MAX_FILTERS = 8 };

struct msift_filter {
  enum msift_filter_kind kind;
  size_t element; /* bytes, of shuffle */
};

/* In the order in which they were applied. */
struct msift_filters {
  int n;
  struct msift_filter of[MSIFT_MAX_FILTERS];
};

/* Why bytes could not be had: a text that lives for ever, and what errno was, or 0. */
struct msift_fault {
  const char *what;
  int code;
};

/* What a thread decodes with: two buffers, of which the first takes what is read. */
struct msift_scratch {
  unsigned char *memory, *buffers[2];
  size_t room;   /* of a buffer */
  void *inflate; /* see inflate.h */
  void *zstd;    /* its context; NULL where there is none */
};

/* Whether this library was built to undo a filter. */
bool msift_decodes(enum msift_filter_kind kind);

/* Most bytes that a chunk of so many may be stored in; more is damage. */
size_t msift_stored_most(size_t raw);

/* Memory of one scratch for chunks of up to `raw` bytes. */
size_t msift_scratch_bytes(size_t raw);
mpisift_status msift_scratch_init(struct msift_scratch *scratch, size_t raw, struct msift_memory *memory,
                                  struct msift_error *error);
/* As large as is needed for chunks of `raw` bytes; 0: as it is. */
mpisift_status msift_scratch_fit(struct msift_scratch *scratch, size_t raw, struct msift_memory *memory,
                                 struct msift_error *error);
void msift_scratch_destroy(struct msift_scratch *scratch, struct msift_memory *memory);

/* Turn the first `stored` bytes of the scratch into the `raw` bytes of a chunk. Bit i of `skipped`: filter i was not
 * applied to it. */
bool msift_decode(struct msift_scratch *scratch, const struct msift_filters *filters, uint32_t skipped, size_t stored,
                  unsigned char *to, size_t raw, struct msift_fault *fault);

/* Reverse the bytes of n elements of 1, 2, 4 or 8. */
void msift_swap(void *elements, size_t size, size_t n);

/* Memory is copied and read fastest to where lines of the processor's cache begin. */
enum { MSIFT_LINE = 64 };

static inline unsigned char *msift_align(unsigned char *memory)
{
  return memory + (MSIFT_LINE - (uintptr_t)memory % MSIFT_LINE) % MSIFT_LINE;
}

#endif
