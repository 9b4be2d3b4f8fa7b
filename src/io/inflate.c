#include <config.h>

#include "io/inflate.h"

static const char damaged[] = "a chunk does not decompress; the file is damaged";
static const char too_long[] = "a chunk decompresses to more than its size; the file is damaged";

#ifdef HAVE_LIBDEFLATE

#include <libdeflate.h>

void *msift_inflate_begin(void)
{
  return libdeflate_alloc_decompressor();
}

void msift_inflate_end(void *state)
{
  libdeflate_free_decompressor(state);
}

const char *msift_inflate(void *state, const unsigned char *from, size_t bytes, unsigned char *to, size_t room,
                          size_t *made)
{
  switch (libdeflate_zlib_decompress(state, from, bytes, to, room, made)) {
  case LIBDEFLATE_SUCCESS:
    return NULL;
  case LIBDEFLATE_INSUFFICIENT_SPACE:
    return too_long;
  default:
    return damaged;
  }
}

#else

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

void *msift_inflate_begin(void)
{
  z_stream *stream = calloc(1, sizeof *stream);

  if (stream != NULL && inflateInit(stream) != Z_OK) {
    free(stream);
    stream = NULL;
  }
  return stream;
}

void msift_inflate_end(void *state)
{
  if (state != NULL)
    inflateEnd(state);
  free(state);
}

const char *msift_inflate(void *state, const unsigned char *from, size_t bytes, unsigned char *to, size_t room,
                          size_t *made)
{
  z_stream *stream = state;
  int code;

  inflateReset(stream);
  stream->next_in = (unsigned char *)(uintptr_t)from;
  stream->avail_in = (uInt)bytes;
  stream->next_out = to;
  stream->avail_out = (uInt)room;
  code = inflate(stream, Z_FINISH);
  *made = room - stream->avail_out;
  if (code == Z_STREAM_END)
    return NULL;
  return code == Z_MEM_ERROR ? "no memory to decompress a chunk" : stream->avail_out == 0 ? too_long : damaged;
}

#endif
