#include "io/readers.h"

#include <signal.h>
#include <string.h>

#include "io/cache.h"
#include "io/fetch.h"

static void unlink_job(struct msift_readers *r, struct msift_cached *p)
{
  *(p->before != NULL ? &p->before->behind : &r->first) = p->behind;
  *(p->behind != NULL ? &p->behind->before : &r->last) = p->before;
  p->before = p->behind = NULL;
}

static int state_of(struct msift_cached *p)
{
  return atomic_load_explicit(&p->state, memory_order_acquire);
}

/* Read a block, with the lock held but while reading. */
static void work_on(struct msift_readers *r, struct msift_cached *p, struct msift_scratch *scratch)
{
  unlink_job(r, p);
  atomic_store(&p->state, MSIFT_READING);
  pthread_mutex_unlock(&r->lock);
  msift_fetch_block(p, scratch);
  pthread_mutex_lock(&r->lock);
  atomic_store_explicit(&p->state, p->fault.what == NULL ? MSIFT_READY : MSIFT_FAILED, memory_order_release);
  pthread_cond_broadcast(&r->done);
}

static void *run_reader(void *argument)
{
  struct msift_reader *reader = argument;
  struct msift_readers *r = reader->all;

  pthread_mutex_lock(&r->lock);
  while (!r->stop)
    if (r->first != NULL)
      work_on(r, r->first, &reader->scratch);
    else
      pthread_cond_wait(&r->work, &r->lock);
  pthread_mutex_unlock(&r->lock);
  return NULL;
}

/* Signals are for the user's threads. */
static bool start_thread(struct msift_reader *reader)
{
  sigset_t all, before;
  bool started;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  started = pthread_create(&reader->thread, NULL, run_reader, reader) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return started;
}

mpisift_status msift_readers_start(struct msift_readers *r, int n, size_t raw, struct msift_memory *memory,
                                   struct msift_error *error)
{
  memset(r, 0, sizeof *r);
  if (n == 0)
    return MPISIFT_OK;
  r->of = msift_alloc(memory, error, n, sizeof *r->of);
  if (r->of == NULL)
    return error->status;
  pthread_mutex_init(&r->lock, NULL);
  pthread_cond_init(&r->work, NULL);
  pthread_cond_init(&r->done, NULL);
  for (; r->n < n; r->n++) {
    struct msift_reader *reader = &r->of[r->n];

    reader->all = r;
    if (raw > 0)
      MSIFT_TRY(msift_scratch_init(&reader->scratch, raw, memory, error));
    if (!start_thread(reader)) {
      msift_scratch_destroy(&reader->scratch, memory);
      return MPISIFT_OK;
    }
  }
  return MPISIFT_OK;
}

void msift_readers_stop(struct msift_readers *r, struct msift_memory *memory)
{
  if (r->of == NULL)
    return;
  pthread_mutex_lock(&r->lock);
  r->stop = true;
  pthread_cond_broadcast(&r->work);
  pthread_mutex_unlock(&r->lock);
  for (int i = 0; i < r->n; i++) {
    pthread_join(r->of[i].thread, NULL);
    msift_scratch_destroy(&r->of[i].scratch, memory);
  }
  pthread_cond_destroy(&r->done);
  pthread_cond_destroy(&r->work);
  pthread_mutex_destroy(&r->lock);
  msift_free(memory, &r->of);
  r->n = 0;
}

void msift_readers_queue(struct msift_readers *r, struct msift_cached *p)
{
  pthread_mutex_lock(&r->lock);
  atomic_store(&p->state, MSIFT_QUEUED);
  p->behind = NULL;
  p->before = r->last;
  *(r->last != NULL ? &r->last->behind : &r->first) = p;
  r->last = p;
  pthread_cond_signal(&r->work);
  pthread_mutex_unlock(&r->lock);
}

bool msift_readers_cancel(struct msift_readers *r, struct msift_cached *p)
{
  bool queued;

  pthread_mutex_lock(&r->lock);
  queued = state_of(p) == MSIFT_QUEUED;
  if (queued) {
    unlink_job(r, p);
    atomic_store(&p->state, MSIFT_VACANT);
  }
  pthread_mutex_unlock(&r->lock);
  return queued;
}

/* One whose rows are waited for. */
static struct msift_cached *next_pinned(const struct msift_readers *r)
{
  struct msift_cached *p = r->first;

  while (p != NULL && !p->pinned)
    p = p->behind;
  return p;
}

void msift_readers_wait(struct msift_readers *r, struct msift_cached *p, struct msift_scratch *scratch)
{
  if (state_of(p) != MSIFT_QUEUED && state_of(p) != MSIFT_READING)
    return;
  pthread_mutex_lock(&r->lock);
  while (state_of(p) == MSIFT_QUEUED || state_of(p) == MSIFT_READING) {
    struct msift_cached *job = state_of(p) == MSIFT_QUEUED ? p : next_pinned(r);

    if (job != NULL)
      work_on(r, job, scratch);
    else
      pthread_cond_wait(&r->done, &r->lock);
  }
  pthread_mutex_unlock(&r->lock);
}
