#include "tools/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void __attribute__((format(printf, 1, 0))) print_error(const char *format, va_list arguments)
{
  char text[2048];

  vsnprintf(text, sizeof text, format, arguments);
  for (char *c = text; *c; c++) {
    if ((unsigned char)*c < ' ' || *c == 0x7f)
      *c = '?';
  }
  /* A progress line may stand there. */
  fprintf(stderr, "%smpisift: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", text);
}

void tool_error(const char *format, ...)
{
  va_list arguments;

  va_start(arguments, format);
  print_error(format, arguments);
  va_end(arguments);
}

int tool_usage_error(const char *command, const char *format, ...)
{
  char text[1024];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  tool_error("%s; try 'mpisift %s --help'", text, command);
  return TOOL_USAGE;
}

/* The word that getopt_long() stopped at: a short option may stand in the middle of one. */
static void name_option(char **argv, char *name, size_t size)
{
  if (optopt > ' ' && optopt < 0x7f)
    snprintf(name, size, "-%c", optopt);
  else
    snprintf(name, size, "%s", argv[optind - 1]);
}

int tool_getopt(int argc, char **argv, const char *short_options, const struct option *long_options)
{
  char name[256];

  opterr = 0;
  int code = getopt_long(argc, argv, short_options, long_options, NULL);
  if (code != '?' && code != ':')
    return code;

  if (code == ':') {
    tool_usage_error(argv[0], "option '%s' needs a value", argv[optind - 1]);
  } else {
    name_option(argv, name, sizeof name);
    tool_usage_error(argv[0], "unknown option '%s'", name);
  }
  return '?';
}

bool tool_parse_int(const char *text, int64_t min, int64_t max, int64_t *value)
{
  char *end;

  errno = 0;
  long long number = strtoll(text, &end, 10);
  if (errno || end == text || *end || number < min || number > max)
    return false;
  *value = number;
  return true;
}
