#include "tools/stream.h"

#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER_BYTES = 256 * 1024, MAX_LINE_BYTES = 64 * 1024 * 1024 };

struct stream {
  char *path;
  gzFile file;   /* NULL: at rest, */
  z_off_t place; /* with these bytes of the text read */
  off_t bytes;   /* of the file on disk */
  bool terminal;
  double shown; /* when progress was printed last; 0: never */
  unsigned char *buffer;
  size_t begin, end; /* of the unread part of the buffer */
  char *line;
  size_t line_capacity;
};

static double seconds(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show_progress(stream *s)
{
  double now = s->terminal ? seconds() : 0;

  if (now - s->shown < 0.2)
    return;
  s->shown = now;
  double share = s->bytes > 0 ? (double)gzoffset(s->file) / (double)s->bytes : 1;
  fprintf(stderr, "\rreading %s %3.0f %%\033[K", s->path, 100 * share);
}

/* Inputs may be read twice, so pipes are refused. */
static int open_regular(const char *path, off_t *bytes)
{
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  if (fd < 0) {
    tool_error("cannot open '%s': %s", path, strerror(errno));
    return -1;
  }
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    *bytes = status.st_size;
    return fd;
  }
  close(fd);
  tool_error("'%s' is %s; a regular file is needed", path,
             S_ISDIR(status.st_mode) ? "a directory" : "a pipe or device, which cannot be read twice");
  return -1;
}

/* Open the file, which is at rest. */
static bool wake(stream *s)
{
  int fd = open_regular(s->path, &s->bytes);

  if (fd < 0)
    return false;
  s->buffer = malloc(BUFFER_BYTES);
  s->file = s->buffer ? gzdopen(fd, "rb") : NULL;
  if (!s->file) {
    tool_error("out of memory for reading '%s'", s->path);
    close(fd);
    return false;
  }
  if (s->place == 0 || gzseek(s->file, s->place, SEEK_SET) == s->place)
    return true;
  tool_error("'%s' changed while it was read", s->path);
  return false;
}

static void fall_asleep(stream *s)
{
  if (s->file)
    gzclose(s->file);
  free(s->buffer);
  s->file = NULL;
  s->buffer = NULL;
  s->begin = s->end = 0;
}

stream *stream_open(const char *path)
{
  stream *s = calloc(1, sizeof *s);

  if (s)
    s->path = strdup(path);
  if (!s || !s->path) {
    tool_error("out of memory for reading '%s'", path);
    free(s);
    return NULL;
  }
  s->terminal = isatty(STDERR_FILENO);
  if (wake(s))
    return s;
  stream_close(s);
  return NULL;
}

void stream_rest(stream *s)
{
  if (!s->file)
    return;
  s->place = gztell(s->file) - (z_off_t)(s->end - s->begin);
  fall_asleep(s);
  free(s->line);
  s->line = NULL;
  s->line_capacity = 0;
}

void stream_close(stream *s)
{
  if (!s)
    return;
  if (s->shown > 0)
    fprintf(stderr, "\r\033[K");
  fall_asleep(s);
  free(s->line);
  free(s->path);
  free(s);
}

const char *stream_path(const stream *s)
{
  return s->path;
}

bool stream_rewind(stream *s)
{
  s->begin = s->end = 0;
  s->place = 0;
  if (!s->file || gzrewind(s->file) == 0)
    return true;
  tool_error("cannot go back to the start of '%s'", s->path);
  return false;
}

/* Returns 1, 0 at the end of the file, or -1. */
static int fill(stream *s)
{
  int code;

  if (!s->file && !wake(s))
    return -1;
  int got = gzread(s->file, s->buffer, BUFFER_BYTES);

  gzerror(s->file, &code);
  show_progress(s);
  s->begin = 0;
  s->end = got > 0 ? (size_t)got : 0;
  /* zlib reports a gzip file that ends early as a buffer error, with the bytes before it. */
  if (got >= 0 && (code == Z_OK || code == Z_STREAM_END))
    return got > 0;

  tool_error("cannot read '%s': %s", s->path,
             code == Z_ERRNO       ? strerror(errno)
             : code == Z_BUF_ERROR ? "the compressed data end too early (truncated?)"
                                   : "the compressed data are corrupt");
  return -1;
}

ptrdiff_t stream_read(stream *s, void *bytes, size_t size)
{
  unsigned char *to = bytes;
  size_t done = 0;

  while (done < size) {
    int more = s->begin < s->end ? 1 : fill(s);

    if (more < 0)
      return -1;
    if (more == 0)
      break;
    size_t n = s->end - s->begin < size - done ? s->end - s->begin : size - done;
    memcpy(to + done, s->buffer + s->begin, n);
    s->begin += n;
    done += n;
  }
  return (ptrdiff_t)done;
}

static bool append_to_line(stream *s, size_t length, const void *bytes, size_t n)
{
  if (length + n + 1 > s->line_capacity) {
    size_t capacity = 2 * (length + n + 1);
    char *line = length + n > MAX_LINE_BYTES ? NULL : realloc(s->line, capacity);

    if (!line) {
      tool_error("'%s' has a line that is too long (over %zu bytes); is it a text file?", s->path, length);
      return false;
    }
    s->line = line;
    s->line_capacity = capacity;
  }
  memcpy(s->line + length, bytes, n);
  return true;
}

int stream_line(stream *s, char **text, size_t *length)
{
  size_t n = 0;
  const unsigned char *newline = NULL;

  while (!newline) {
    int more = s->begin < s->end ? 1 : fill(s);

    if (more < 0 || (more == 0 && n == 0))
      return more;
    if (more == 0)
      break;
    newline = memchr(s->buffer + s->begin, '\n', s->end - s->begin);
    size_t end = newline ? (size_t)(newline - s->buffer) : s->end;
    if (!append_to_line(s, n, s->buffer + s->begin, end - s->begin))
      return -1;
    n += end - s->begin;
    s->begin = newline ? end + 1 : end;
  }
  if (n > 0 && s->line[n - 1] == '\r')
    n--;
  s->line[n] = '\0';
  *text = s->line;
  *length = n;
  return 1;
}
