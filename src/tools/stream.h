/* Reads a file, plain or gzipped, from front to back, with progress on a terminal. */
#ifndef MSIFT_TOOLS_STREAM_H
#define MSIFT_TOOLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>

typedef struct stream stream;

/* All functions print their errors with tool_error(). */
stream *stream_open(const char *path);
void stream_close(stream *s); /* NULL is a no-op */
const char *stream_path(const stream *s);

/* Give the file and most of the memory back until the next read, which goes on where the last one ended. */
void stream_rest(stream *s);

/* Start again at the first byte. */
bool stream_rewind(stream *s);

/* Read up to `size` bytes; fewer only at the end of the file. -1 on error. */
ptrdiff_t stream_read(stream *s, void *bytes, size_t size);

/* The next line without its line end: 1, 0 at the end of the file, or -1 on error. *text ends with a NUL, may be
 * changed, and is valid until the next call. */
int stream_line(stream *s, char **text, size_t *length);

#endif
