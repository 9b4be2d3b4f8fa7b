/* Threads that read and decode blocks. They touch nothing but the blocks in their queue: no HDF5, no MPI, no
 * allocation, and no signals. The caller's thread takes part: it reads what it would have to wait for. */
#ifndef MSIFT_IO_READERS_H
#define MSIFT_IO_READERS_H

#include <pthread.h>

#include "io/decode.h"

enum { MSIFT_MAX_READERS = 64 };

struct msift_cached;
struct msift_readers;

struct msift_reader {
  struct msift_readers *all;
  struct msift_scratch scratch;
  pthread_t thread;
};

struct msift_readers {
  int n; /* threads that run */
  struct msift_reader *of;
  pthread_mutex_t lock; /* of all below, and of the states of blocks in the queue or being read */
  pthread_cond_t work, done;
  struct msift_cached *first, *last; /* the queue */
  bool stop;
};

/* Start up to n threads that decode chunks of up to `raw` bytes; fewer where the system has no more. */
mpisift_status msift_readers_start(struct msift_readers *readers, int n, size_t raw, struct msift_memory *memory,
                                   struct msift_error *error);
void msift_readers_stop(struct msift_readers *readers, struct msift_memory *memory);

/* Have a block read: its rows have room. */
void msift_readers_queue(struct msift_readers *readers, struct msift_cached *block);

/* Take a block out of the queue. False where it is being read, or has been. */
bool msift_readers_cancel(struct msift_readers *readers, struct msift_cached *block);

/* Return when a block that was queued has been read, or failed; read it here where no thread has begun to, and others
 * that are pinned while one does. */
void msift_readers_wait(struct msift_readers *readers, struct msift_cached *block, struct msift_scratch *scratch);

#endif
