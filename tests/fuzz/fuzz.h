/* What the fuzz targets share: bytes that are used up one choice after the other, and a file of bytes. */
#ifndef MPISIFT_FUZZ_H
#define MPISIFT_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A finding that is no crash. */
#define MUST(condition)                                                                                                \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition);                                       \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

struct bytes {
  const uint8_t *data;
  size_t size;
};

/* The next byte; 0 when all are used up. */
static inline unsigned take(struct bytes *b)
{
  if (b->size == 0)
    return 0;
  b->size--;
  return *b->data++;
}

static inline unsigned take_below(struct bytes *b, unsigned n)
{
  return take(b) % n;
}

static inline int64_t take_long(struct bytes *b)
{
  uint64_t x = 0;

  for (unsigned i = take_below(b, 9); i > 0; i--)
    x = x << 8 | take(b);
  return (int64_t)x;
}

/* A file in memory, whose path can be opened while it is. */
static inline int memory_file(const void *data, size_t size, char path[64])
{
  int file = memfd_create("fuzz", MFD_CLOEXEC);

  MUST(file >= 0 && write(file, data, size) == (ssize_t)size);
  snprintf(path, 64, "/proc/self/fd/%d", file);
  return file;
}

#endif
