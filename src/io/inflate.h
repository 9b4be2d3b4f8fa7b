/* Undoing deflate, of chunks in zlib's format: by libdeflate where the library was built with it, which takes half the
 * time, or by zlib. Both give equal bytes. */
#ifndef MSIFT_IO_INFLATE_H
#define MSIFT_IO_INFLATE_H

#include <stddef.h>

/* What a thread inflates with; NULL where there is no memory for it. */
void *msift_inflate_begin(void);
void msift_inflate_end(void *state);

/* Inflate one stream; *made: bytes it gave, at most `room`. What follows it is ignored. Returns NULL, or what is wrong:
 * a text that lives for ever. */
const char *msift_inflate(void *state, const unsigned char *from, size_t bytes, unsigned char *to, size_t room,
                          size_t *made);

#endif
