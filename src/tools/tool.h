/* What the commands of the program mpisift share. */
#ifndef MSIFT_TOOLS_TOOL_H
#define MSIFT_TOOLS_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

enum tool_exit { TOOL_OK = 0, TOOL_FAILURE = 1, TOOL_USAGE = 2 };

/* A command: argv[0] is its name. Returns an enum tool_exit. */
int tool_bench(int argc, char **argv);
int tool_convert(int argc, char **argv);
int tool_info(int argc, char **argv);
int tool_train(int argc, char **argv);

/* Print "mpisift: ...\n" to standard error. Control characters, which file contents may bring in, become '?'. */
void tool_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* getopt_long() with messages that name the option and the command's help. Returns -1 at the end and '?' after a
 * message. `short_options` begins with ':'; options without a short form have values above 255. */
int tool_getopt(int argc, char **argv, const char *short_options, const struct option *long_options);

/* Print "mpisift: ...\n" with the help's name, for errors in how a command was called. Returns TOOL_USAGE. */
int tool_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Read all of `text` as an integer in [min, max]. */
bool tool_parse_int(const char *text, int64_t min, int64_t max, int64_t *value);

#endif
