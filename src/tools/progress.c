#include "tools/progress.h"

#include <math.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "tools/tool.h"

static const double seconds_between = 0.2;

void progress_begin(job_progress *progress, int rank, double total)
{
  progress->speaks = rank == 0;
  progress->terminal = rank == 0 && isatty(STDERR_FILENO);
  progress->started = MPI_Wtime();
  progress->shown = 0;
  progress->total = total;
  progress->done = 0;
  progress->width = 0;
}

bool progress_due(const job_progress *progress)
{
  return progress->terminal && MPI_Wtime() - progress->shown >= seconds_between;
}

static int write_left(const job_progress *progress, double work, char *text, size_t size)
{
  double done = progress->done + work;
  if (done <= 0)
    return 0;
  double left = (MPI_Wtime() - progress->started) * fmax(progress->total - done, 0) / done;
  return snprintf(text, size, "  %d:%02d left", (int)(left / 60), (int)fmod(left, 60));
}

void progress_show(job_progress *progress, const progress_state *state)
{
  char line[256], epochs[32] = "", loss[32] = "", left[32] = "";
  if (state->epochs > 0)
    snprintf(epochs, sizeof epochs, "/%lld", (long long)state->epochs);
  if (isfinite(state->loss))
    snprintf(loss, sizeof loss, "  loss %.4f", state->loss);
  write_left(progress, state->work, left, sizeof left);
  int width = snprintf(line, sizeof line, "%s  epoch %lld%s%s  keep %.0f %%%s", state->what, (long long)state->epoch,
                       epochs, loss, 100 * state->keep, left);
  fprintf(stderr, "\r%s%*s", line, progress->width > width ? progress->width - width : 0, "");
  fflush(stderr);
  progress->width = width;
  progress->shown = MPI_Wtime();
}

void progress_clear(job_progress *progress)
{
  if (progress->width > 0)
    fprintf(stderr, "\r%*s\r", progress->width, "");
  progress->width = 0;
}

void progress_line(job_progress *progress, double work, const char *format, ...)
{
  progress->done += work;
  if (!progress->speaks)
    return;
  progress_clear(progress);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
}

int progress_fail(job_progress *progress, const char *format, ...)
{
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  progress_clear(progress);
  if (progress->speaks)
    tool_error("%s", text);
  return TOOL_FAILURE;
}
