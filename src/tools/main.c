/* The program mpisift: finds the command and runs it. */
#include "tools/tool.h"

#include <mpisift/version.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
  const char *name, *summary;
  int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"bench", "measure parts of the library", tool_bench},
    {"convert", "make a data set (HDF5) from CSV, IDX or NumPy files", tool_convert},
    {"info", "describe a data set", tool_info},
    {"train", "train a classifier with and without sifting, and compare", tool_train},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void list_commands(FILE *to)
{
  for (int i = 0; i < N_COMMANDS; i++)
    fprintf(to, "  %-10s%s\n", commands[i].name, commands[i].summary);
}

static int help(void)
{
  printf("usage: mpisift COMMAND [options]\n"
         "       mpisift --help | --version\n\n"
         "Loss-based sifting of training samples over MPI.\n\n"
         "Commands:\n");
  list_commands(stdout);
  printf("\n'mpisift COMMAND --help' explains a command.\n");
  return TOOL_OK;
}

static int usage(const char *word)
{
  if (!word)
    tool_error("no command given; the commands are:");
  else
    tool_error("unknown %s '%s'; the commands are:", word[0] == '-' ? "option" : "command", word);
  list_commands(stderr);
  return TOOL_USAGE;
}

static int run(int argc, char **argv)
{
  if (argc < 2)
    return usage(NULL);
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return help();
  if (strcmp(argv[1], "--version") == 0) {
    printf("mpisift %s\n", MPISIFT_VERSION);
    return TOOL_OK;
  }
  for (int i = 0; i < N_COMMANDS; i++) {
    if (strcmp(argv[1], commands[i].name) == 0)
      return commands[i].run(argc - 1, argv + 1);
  }
  return usage(argv[1]);
}

int main(int argc, char **argv)
{
  int status = run(argc, argv);

  /* A full disk behind a redirection shows only here. */
  if ((fflush(stdout) || ferror(stdout)) && status == TOOL_OK) {
    tool_error("cannot write to standard output");
    status = TOOL_FAILURE;
  }
  return status;
}
