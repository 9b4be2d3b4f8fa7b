#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *mpisift_strerror(mpisift_status status)
{
  switch (status) {
  case MPISIFT_OK:
    return "success";
  case MPISIFT_END_OF_EPOCH:
    return "end of epoch";
  case MPISIFT_MORE:
    return "more candidates are needed";
  case MPISIFT_ERR_ARG:
    return "invalid argument";
  case MPISIFT_ERR_MEMORY:
    return "out of memory";
  case MPISIFT_ERR_IO:
    return "input or output failed";
  case MPISIFT_ERR_DATA:
    return "bad data";
  case MPISIFT_ERR_CALLBACK:
    return "callback failed";
  case MPISIFT_ERR_MPI:
    return "MPI failed";
  case MPISIFT_ERR_THREAD:
    return "called from a thread that may not call MPI";
  case MPISIFT_ERR_DEVICE:
    return "device failed";
  case MPISIFT_ERR_BUSY:
    return "called from inside a callback";
  case MPISIFT_ERR_STATE:
    return "call does not fit the state";
  case MPISIFT_ERR_USER:
    return "a rank reported a failure";
  }
  return "unknown status";
}

mpisift_status msift_error_set(struct msift_error *error, mpisift_status status, const char *format, ...)
{
  va_list args;

  if (error->status != MPISIFT_OK)
    return error->status;
  error->status = status;
  va_start(args, format);
  vsnprintf(error->text, sizeof error->text, format, args);
  va_end(args);
  return status;
}

void msift_error_clear(struct msift_error *error)
{
  error->status = MPISIFT_OK;
  error->text[0] = '\0';
}

void msift_error_prefix(struct msift_error *error, const char *format, ...)
{
  char text[MSIFT_TEXT];
  va_list args;
  int used;

  va_start(args, format);
  used = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (used < 0 || (size_t)used >= sizeof text)
    return;
  snprintf(text + used, sizeof text - (size_t)used, "%.*s", (int)(sizeof text - (size_t)used - 1), error->text);
  memcpy(error->text, text, sizeof text);
}
