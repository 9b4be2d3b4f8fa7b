/* Runs a command and prints the largest memory that it held at a time, in KiB. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
  struct rusage usage;
  int status = 1;
  pid_t child = argc > 1 ? fork() : -1;

  if (child == 0) {
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || getrusage(RUSAGE_CHILDREN, &usage) != 0 || status != 0)
    return 1;
  printf("%ld\n", usage.ru_maxrss);
  return 0;
}
