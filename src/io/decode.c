#include <config.h>

#include "io/decode.h"

#include <string.h>

#include "io/inflate.h"

#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

bool msift_decodes(enum msift_filter_kind kind)
{
#ifndef HAVE_LZ4
  if (kind == MSIFT_LZ4)
    return false;
#endif
#ifndef HAVE_ZSTD
  if (kind == MSIFT_ZSTD)
    return false;
#endif
  return kind >= MSIFT_SHUFFLE;
}

size_t msift_stored_most(size_t raw)
{
  return raw + raw / 8 + 4096;
}

static size_t room_for(size_t raw)
{
  return (msift_stored_most(raw) + MSIFT_LINE - 1) / MSIFT_LINE * MSIFT_LINE;
}

size_t msift_scratch_bytes(size_t raw)
{
  return 2 * room_for(raw) + MSIFT_LINE;
}

mpisift_status msift_scratch_init(struct msift_scratch *s, size_t raw, struct msift_memory *memory,
                                  struct msift_error *error)
{
  *s = (struct msift_scratch){.room = room_for(raw)};
  s->memory = msift_alloc(memory, error, 1, msift_scratch_bytes(raw));
  if (s->memory == NULL) {
    s->room = 0;
    return error->status;
  }
  s->buffers[0] = msift_align(s->memory);
  s->buffers[1] = s->buffers[0] + s->room;
  s->inflate = msift_inflate_begin();
  if (s->inflate == NULL) {
    msift_scratch_destroy(s, memory);
    return msift_error_set(error, MPISIFT_ERR_MEMORY, "cannot allocate what chunks are decompressed with");
  }
#ifdef HAVE_ZSTD
  s->zstd = ZSTD_createDCtx();
#endif
  return MPISIFT_OK;
}

void msift_scratch_destroy(struct msift_scratch *s, struct msift_memory *memory)
{
  msift_inflate_end(s->inflate);
  s->inflate = NULL;
#ifdef HAVE_ZSTD
  ZSTD_freeDCtx(s->zstd);
  s->zstd = NULL;
#endif
  msift_free(memory, &s->memory);
  s->room = 0;
}

mpisift_status msift_scratch_fit(struct msift_scratch *s, size_t raw, struct msift_memory *memory,
                                 struct msift_error *error)
{
  if (raw == 0 || s->room >= room_for(raw))
    return MPISIFT_OK;
  msift_scratch_destroy(s, memory);
  return msift_scratch_init(s, raw, memory, error);
}

static bool refuse(struct msift_fault *fault, const char *what)
{
  *fault = (struct msift_fault){what, 0};
  return false;
}

/* The elements of a type whose byte b is byte i of run b of n bytes. */
#define UNSHUFFLE(T)                                                                                                   \
  for (size_t i = 0; i < n; i++) {                                                                                     \
    T element = 0;                                                                                                     \
    for (size_t b = 0; b < sizeof(T); b++)                                                                             \
      element = (T)(element | (T)((T)from[b * n + i] << 8 * PLACE(b, sizeof(T))));                                     \
    memcpy(to + i * sizeof(T), &element, sizeof(T));                                                                   \
  }

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define PLACE(b, size) ((size)-1 - (b))
#else
#define PLACE(b, size) (b)
#endif

/* Byte b of all elements is together; what fills no element is at the end. */
static void unshuffle(const unsigned char *restrict from, size_t bytes, size_t size, unsigned char *restrict to)
{
  size_t n = bytes / size, rest = bytes % size;

  switch (size) {
  case 2:
    UNSHUFFLE(uint16_t)
    break;
  case 4:
    UNSHUFFLE(uint32_t)
    break;
  case 8:
    UNSHUFFLE(uint64_t)
    break;
  default:
    for (size_t b = 0; b < size; b++)
      for (size_t i = 0; i < n; i++)
        to[i * size + b] = from[b * n + i];
  }
  memcpy(to + n * size, from + n * size, rest);
}

static bool undo_deflate(void *state, const unsigned char *from, size_t bytes, unsigned char *to, size_t room,
                         size_t *made, struct msift_fault *fault)
{
  const char *wrong = msift_inflate(state, from, bytes, to, room, made);

  return wrong == NULL || refuse(fault, wrong);
}

#ifdef HAVE_LZ4

static uint64_t big_endian(const unsigned char *bytes, int n)
{
  uint64_t value = 0;

  for (int i = 0; i < n; i++)
    value = value << 8 | bytes[i];
  return value;
}

static bool undo_lz4_block(const unsigned char *from, size_t bytes, unsigned char *to, size_t want)
{
  if (bytes == want)
    memcpy(to, from, want);
  else if (bytes > INT32_MAX || want > INT32_MAX ||
           LZ4_decompress_safe((const char *)from, (char *)to, (int)bytes, (int)want) != (int)want)
    return false;
  return true;
}

/* The form of HDF5's filter 32004: the size in 8 bytes, that of a block in 4; for each block its compressed size in 4,
 * and itself, which is as it was where both sizes are equal. */
static bool undo_lz4(const unsigned char *from, size_t bytes, unsigned char *to, size_t room, size_t *made,
                     struct msift_fault *fault)
{
  static const char damaged[] = "a chunk does not decompress; the file is damaged";
  uint64_t total = bytes < 12 ? UINT64_MAX : big_endian(from, 8), most = bytes < 12 ? 0 : big_endian(from + 8, 4);
  size_t at = 12, done = 0;

  if (total > room || most == 0)
    return refuse(fault, damaged);
  while (done < total) {
    size_t want = total - done < most ? total - done : most;
    size_t packed = bytes - at < 4 ? SIZE_MAX : big_endian(from + at, 4);

    at += 4;
    if (packed == SIZE_MAX || packed > bytes - at || !undo_lz4_block(from + at, packed, to + done, want))
      return refuse(fault, damaged);
    at += packed;
    done += want;
  }
  *made = total;
  return true;
}

#endif

#ifdef HAVE_ZSTD

static bool undo_zstd(void *context, const unsigned char *from, size_t bytes, unsigned char *to, size_t room,
                      size_t *made, struct msift_fault *fault)
{
  size_t n;

  if (context == NULL)
    return refuse(fault, "no memory to decompress a chunk");
  n = ZSTD_decompressDCtx(context, to, room, from, bytes);
  if (ZSTD_isError(n))
    return refuse(fault, "a chunk does not decompress; the file is damaged");
  *made = n;
  return true;
}

#endif

static uint32_t fold(uint32_t sum)
{
  return (sum & 0xffff) + (sum >> 16);
}

/* HDF5's: of big-endian words of 16 bits, whatever the machine; 360 of them are the most that cannot overflow. */
static uint32_t fletcher32(const unsigned char *bytes, size_t n)
{
  uint32_t sum = 0, sums = 0;

  for (size_t left = n / 2; left > 0;) {
    size_t piece = left < 360 ? left : 360;

    left -= piece;
    for (; piece > 0; piece--, bytes += 2)
      sums += sum += (uint32_t)bytes[0] << 8 | bytes[1];
    sum = fold(sum);
    sums = fold(sums);
  }
  if (n % 2 == 1) {
    sums += sum += (uint32_t)*bytes << 8;
    sum = fold(sum);
    sums = fold(sums);
  }
  return fold(sums) << 16 | fold(sum);
}

/* Old versions of HDF5 stored the checksum with the bytes of each half reversed. */
static bool check_fletcher32(const unsigned char *bytes, size_t *n, struct msift_fault *fault)
{
  uint32_t sum, stored = 0, reversed;

  if (*n < sizeof stored)
    return refuse(fault, "a chunk is too short for its checksum; the file is damaged");
  *n -= sizeof stored;
  sum = fletcher32(bytes, *n);
  for (size_t i = 0; i < sizeof stored; i++)
    stored |= (uint32_t)bytes[*n + i] << 8 * i;
  reversed = (sum & 0x00ff00ff) << 8 | (sum >> 8 & 0x00ff00ff);
  return stored == sum || stored == reversed ||
         refuse(fault, "a chunk's checksum (Fletcher32) is wrong; the file is damaged");
}

static bool applied(uint32_t skipped, int i)
{
  return (skipped >> i & 1) == 0;
}

/* Undo one filter that moves bytes. */
static bool undo(struct msift_scratch *s, const struct msift_filter *filter, const unsigned char *from, size_t *bytes,
                 unsigned char *to, size_t room, struct msift_fault *fault)
{
  if (filter->kind == MSIFT_DEFLATE)
    return undo_deflate(s->inflate, from, *bytes, to, room, bytes, fault);
#ifdef HAVE_LZ4
  if (filter->kind == MSIFT_LZ4)
    return undo_lz4(from, *bytes, to, room, bytes, fault);
#endif
#ifdef HAVE_ZSTD
  if (filter->kind == MSIFT_ZSTD)
    return undo_zstd(s->zstd, from, *bytes, to, room, bytes, fault);
#endif
  if (*bytes > room)
    return refuse(fault, "a chunk is stored with a wrong size; the file is damaged");
  unshuffle(from, *bytes, filter->element, to);
  return true;
}

/* Whether a filter was applied to a chunk and changed it: a shuffle of single bytes moves none. */
static bool works(const struct msift_filters *filters, uint32_t skipped, int i)
{
  return applied(skipped, i) && (filters->of[i].kind != MSIFT_SHUFFLE || filters->of[i].element > 1);
}

bool msift_decode(struct msift_scratch *s, const struct msift_filters *filters, uint32_t skipped, size_t stored,
                  unsigned char *to, size_t raw, struct msift_fault *fault)
{
  const unsigned char *from = s->buffers[0];
  size_t bytes = stored;
  int first = 0, other = 1;

  while (first < filters->n && !works(filters, skipped, first))
    first++;
  for (int i = filters->n - 1; i >= first; i--) {
    const struct msift_filter *filter = &filters->of[i];
    unsigned char *out = i == first ? to : s->buffers[other];
    bool right = true;

    if (works(filters, skipped, i) && filter->kind == MSIFT_FLETCHER32) {
      right = check_fletcher32(from, &bytes, fault);
    } else if (works(filters, skipped, i)) {
      right = undo(s, filter, from, &bytes, out, i == first ? raw : s->room, fault);
      from = out;
      other = 1 - other;
    }
    if (!right)
      return false;
  }
  if (bytes != raw)
    return refuse(fault, "a chunk does not have its size; the file is damaged");
  if (from != to)
    memcpy(to, from, raw);
  return true;
}

#define SWAP(T, REVERSE)                                                                                               \
  for (size_t i = 0; i < n; i++) {                                                                                     \
    T element;                                                                                                         \
    memcpy(&element, at + i * sizeof(T), sizeof(T));                                                                   \
    element = REVERSE(element);                                                                                        \
    memcpy(at + i * sizeof(T), &element, sizeof(T));                                                                   \
  }

void msift_swap(void *elements, size_t size, size_t n)
{
  unsigned char *at = elements;

  if (size == 2) {
    SWAP(uint16_t, __builtin_bswap16)
  } else if (size == 4) {
    SWAP(uint32_t, __builtin_bswap32)
  } else if (size == 8) {
    SWAP(uint64_t, __builtin_bswap64)
  }
}
