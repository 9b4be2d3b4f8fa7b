/* Writing JSON: members of objects, and a file that takes its place in one go. */
#ifndef MSIFT_TOOLS_JSON_H
#define MSIFT_TOOLS_JSON_H

#include <stdbool.h>
#include <stdio.h>

/* A member of an object; separators are the caller's. */
void json_text(FILE *to, const char *name, const char *text);

/* JSON has no NaN and no infinity: they become null. */
void json_number(FILE *to, const char *name, double value);

/* Test that json_write() will be able to write to path; else say why. "-" and NULL are fine. */
bool json_can_write(const char *path, char *message, size_t size);

/* Write what `print` prints to path: a reader never sees half a file. "-" is standard output. */
bool json_write(const char *path, void (*print)(const void *what, FILE *to), const void *what, char *message,
                size_t size);

#endif
