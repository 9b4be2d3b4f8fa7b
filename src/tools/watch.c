#include "tools/watch.h"

#include "tools/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Signs of life, in memory that both processes see; NULL: nobody watches. */
static atomic_long *beats;

void watch_beat(void)
{
  if (beats)
    atomic_fetch_add(beats, 1);
}

/* Wait for the child's end, for a second at most. */
static bool has_ended(pid_t child, const sigset_t *ends, int *end)
{
  const struct timespec second = {.tv_sec = 1};

  if (waitpid(child, end, WNOHANG) == child)
    return true;
  sigtimedwait(ends, NULL, &second);
  return waitpid(child, end, WNOHANG) == child;
}

static int watch(pid_t child, const sigset_t *ends, const char *what, int64_t seconds)
{
  time_t since = time(NULL);
  long last = 0;
  int end;

  while (!has_ended(child, ends, &end)) {
    long now = atomic_load(beats);

    if (now != last)
      since = time(NULL);
    last = now;
    if (time(NULL) - since < seconds)
      continue;
    kill(child, SIGKILL);
    waitpid(child, &end, 0);
    tool_error("'%s': HDF5 got no further for %" PRId64 " s; is the file damaged? For a slow disk give --timeout more",
               what, seconds);
    return TOOL_FAILURE;
  }
  if (WIFEXITED(end))
    return WEXITSTATUS(end);
  tool_error("'%s': reading it ended by a crash (%s); the file is damaged in a way that HDF5 does not notice", what,
             strsignal(WTERMSIG(end)));
  return TOOL_FAILURE;
}

/* The child ends with its parent, and leaves no core behind: its crash is no news. */
static void become_child(pid_t parent, const sigset_t *before)
{
  const struct rlimit none = {0, 0};

  sigprocmask(SIG_SETMASK, before, NULL);
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(TOOL_FAILURE);
}

bool watch_begin(const char *what, int64_t seconds, int *status)
{
  void *shared = mmap(NULL, sizeof *beats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sigset_t ends, before;
  pid_t parent = getpid();

  /* Where it is ignored, as some programs leave it to their children, there is nothing to wait for. */
  signal(SIGCHLD, SIG_DFL);
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ends, &before);
  pid_t child = shared == MAP_FAILED ? -1 : fork();
  if (child > 0) {
    beats = shared;
    *status = watch(child, &ends, what, seconds);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return false;
  }
  /* Where there is no child, this process does the work without being watched. */
  if (child == 0) {
    beats = shared;
    become_child(parent, &before);
  } else {
    sigprocmask(SIG_SETMASK, &before, NULL);
  }
  return true;
}
