#include "tools/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void json_text(FILE *to, const char *name, const char *text)
{
  fprintf(to, "\"%s\": \"", name);
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      fputc('\\', to);
    if (c < ' ')
      fprintf(to, "\\u%04x", c);
    else
      fputc(c, to);
  }
  fputc('"', to);
}

void json_number(FILE *to, const char *name, double value)
{
  fprintf(to, "\"%s\": ", name);
  if (isfinite(value))
    fprintf(to, "%.9g", value);
  else
    fprintf(to, "null");
}

/* The name under which a file is written before it takes its place. Only a regular file can be replaced by renaming:
 * others, such as /dev/null, are written directly. NULL: out of memory. */
static char *temporary_name(const char *path)
{
  struct stat info;
  bool replace = lstat(path, &info) != 0 || S_ISREG(info.st_mode);
  size_t size = strlen(path) + 32;
  char *name = malloc(size);
  if (name && replace)
    snprintf(name, size, "%s.%ld.tmp", path, (long)getpid());
  else if (name)
    snprintf(name, size, "%s", path);
  return name;
}

static bool explain(const char *path, char *message, size_t size)
{
  snprintf(message, size, "cannot write %s: %s", path, strerror(errno));
  return false;
}

/* Writes nothing where `print` is NULL. */
static bool write_to(const char *path, void (*print)(const void *what, FILE *to), const void *what)
{
  FILE *file = fopen(path, "w");
  if (!file)
    return false;
  if (print)
    print(what, file);
  bool ok = !ferror(file);
  return fclose(file) == 0 && ok;
}

bool json_can_write(const char *path, char *message, size_t size)
{
  if (!path || strcmp(path, "-") == 0)
    return true;
  char *name = temporary_name(path);
  bool ok = name && write_to(name, NULL, NULL);
  if (!ok)
    explain(path, message, size);
  else if (strcmp(name, path) != 0)
    remove(name);
  free(name);
  return ok;
}

bool json_write(const char *path, void (*print)(const void *what, FILE *to), const void *what, char *message,
                size_t size)
{
  if (strcmp(path, "-") == 0) {
    print(what, stdout);
    return fflush(stdout) == 0 || explain("standard output", message, size);
  }
  char *name = temporary_name(path);
  bool ok = name && write_to(name, print, what) && (strcmp(name, path) == 0 || rename(name, path) == 0);
  if (!ok) {
    explain(path, message, size);
    if (name && strcmp(name, path) != 0)
      remove(name);
  }
  free(name);
  return ok;
}
