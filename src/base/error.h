/* An outcome with its text. Who detects an error records it; who passes it on is silent. */
#ifndef MSIFT_BASE_ERROR_H
#define MSIFT_BASE_ERROR_H

#include <mpisift/mpisift.h>

enum { MSIFT_TEXT = 512 };

struct msift_error {
  mpisift_status status;
  char text[MSIFT_TEXT];
};

/* Record an error, unless one is recorded already: the first cause counts. Returns the recorded status. */
mpisift_status msift_error_set(struct msift_error *error, mpisift_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void msift_error_clear(struct msift_error *error);

/* Put text in front of a recorded error's text. */
void msift_error_prefix(struct msift_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define MSIFT_TRY(call)                                                                                                \
  do {                                                                                                                 \
    mpisift_status msift_try_status = (call);                                                                          \
    if (msift_try_status != MPISIFT_OK)                                                                                \
      return msift_try_status;                                                                                         \
  } while (0)

#endif
