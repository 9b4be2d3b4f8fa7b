#include "tools/progress.h"

#include <math.h>
#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/tool.h"

static const double seconds_between = 0.2;

/* Under mpirun standard error is a pipe even where the user sits at a terminal, which is then asked for by name. */
static FILE *find_terminal(void)
{
  struct stat info;
  if (isatty(STDERR_FILENO))
    return stderr;
  return fstat(STDERR_FILENO, &info) == 0 && S_ISFIFO(info.st_mode) ? fopen("/dev/tty", "w") : NULL;
}

void progress_open(job_progress *progress, int rank)
{
  *progress = (job_progress){.speaks = rank == 0, .terminal = rank == 0 ? find_terminal() : NULL};
}

void progress_close(job_progress *progress)
{
  progress_clear(progress);
  if (progress->terminal && progress->terminal != stderr)
    fclose(progress->terminal);
  progress->terminal = NULL;
}

void progress_begin(job_progress *progress, double total)
{
  progress->started = MPI_Wtime();
  progress->total = total;
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
  fprintf(progress->terminal, "\r%s%*s", line, progress->width > width ? progress->width - width : 0, "");
  fflush(progress->terminal);
  progress->width = width;
  progress->shown = MPI_Wtime();
}

void progress_clear(job_progress *progress)
{
  if (progress->width > 0) {
    fprintf(progress->terminal, "\r%*s\r", progress->width, "");
    fflush(progress->terminal);
  }
  progress->width = 0;
  /* Lines on standard error take a moment to reach the terminal through mpirun. */
  progress->shown = MPI_Wtime();
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
