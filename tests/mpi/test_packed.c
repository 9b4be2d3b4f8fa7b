/* Chunks compressed by filters that HDF5 has as plugins only: packed here, as the plugins do it, and damaged. */
#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "h5_files.h"

enum { PACKED_ROWS = 1000, PACKED_CHUNK = 128, PACKED_WIDTH = 40 };

/* A chunk as HDF5's plugin packs it; its size. */
typedef size_t (*pack_fn)(const void *raw, size_t bytes, unsigned char *to, size_t room);

static size_t filter_none(unsigned flags, size_t n_values, const unsigned *values, size_t bytes, size_t *size,
                          void **buffer)
{
  (void)flags, (void)n_values, (void)values, (void)size, (void)buffer;
  return bytes;
}

/* A data set whose chunks are packed here, since HDF5 may have no plugin: while it is made a filter that does nothing
 * takes its place, since HDF5 makes no data set with a mandatory filter that it lacks. */
static void write_packed(const char *path, H5Z_filter_t id, unsigned flag, pack_fn pack)
{
  const H5Z_class2_t none = {H5Z_CLASS_T_VERS, id, 1, 1, "none", NULL, NULL, filter_none};
  bool lacks = H5Zfilter_avail(id) <= 0;
  const hsize_t dims[2] = {PACKED_ROWS, PACKED_WIDTH}, chunk[2] = {PACKED_CHUNK, PACKED_WIDTH};
  static float values[PACKED_CHUNK][PACKED_WIDTH];
  static unsigned char packed[2 * sizeof values];
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(2, dims, NULL);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE), data;

  if (lacks)
    CU_ASSERT(H5Zregister(&none) >= 0);
  H5Pset_chunk(properties, 2, chunk);
  CU_ASSERT(H5Pset_filter(properties, id, flag, 0, NULL) >= 0);
  data = H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  for (hsize_t first = 0; first < PACKED_ROWS; first += PACKED_CHUNK) {
    const hsize_t at[2] = {first, 0};

    for (int i = 0; i < PACKED_CHUNK * PACKED_WIDTH; i++)
      values[i / PACKED_WIDTH][i % PACKED_WIDTH] =
          (float)element_value(MPISIFT_F32, (int64_t)first + i / PACKED_WIDTH, i % PACKED_WIDTH);
    CU_ASSERT(H5Dwrite_chunk(data, H5P_DEFAULT, 0, at, pack(values, sizeof values, packed, sizeof packed), packed) >=
              0);
  }
  H5Dclose(data);
  H5Pclose(properties);
  H5Sclose(space);
  H5Fclose(file);
  if (lacks)
    CU_ASSERT(H5Zunregister(id) >= 0);
}

static size_t pack_as_is(const void *raw, size_t bytes, unsigned char *to, size_t room)
{
  CU_ASSERT_FATAL(bytes <= room);
  memcpy(to, raw, bytes);
  return bytes;
}

/* A filter that nobody knows is left to HDF5, whose error it is then. */
static void unknown_filter(void)
{
  const int64_t id = 5;
  mpisift_dataset *dataset;
  mpisift_source source;
  struct fixture f;
  char text[200];

  begin(&f);
  if (test_rank == 0)
    write_packed(f.path, 31999, H5Z_FLAG_OPTIONAL, pack_as_is);
  written();
  CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, "x", text, sizeof text), MPISIFT_OK);
  CU_ASSERT_STRING_EQUAL(text, "H5Dread: it has a filter that only HDF5 undoes");
  dataset = open_dataset(&f, NULL, NULL, 0, 0);
  source = mpisift_dataset_source(dataset);
  CU_ASSERT_EQUAL(count_wrong(&source, 1, &id), -1);
  CU_ASSERT_PTR_NOT_NULL(strstr(mpisift_error(f.ctx), "field x: rows 0 to"));
  mpisift_dataset_close(&dataset);
  end(&f);
}

#if defined HAVE_LZ4 || defined HAVE_ZSTD

/* Whole, and with each of some bytes changed: an error then, or other values. */
static void check_packed(H5Z_filter_t id, pack_fn pack)
{
  int64_t ids[PACKED_ROWS];
  struct fixture f;
  struct stat status;
  char text[200];

  for (int64_t i = 0; i < PACKED_ROWS; i++)
    ids[i] = i * 7 % PACKED_ROWS;
  begin(&f);
  for (int damage = 0; damage < 30; damage++) {
    mpisift_dataset *dataset;
    mpisift_source source;
    int64_t wrong;

    written();
    if (test_rank == 0) {
      write_packed(f.path, id, damage % 2 == 0 ? H5Z_FLAG_MANDATORY : H5Z_FLAG_OPTIONAL, pack);
      if (damage > 0) {
        int file = open(f.path, O_RDWR);

        CU_ASSERT_EQUAL(fstat(file, &status), 0);
        CU_ASSERT_EQUAL(pwrite(file, "\xff\x80", 2, status.st_size - damage * 200), 2);
        close(file);
      }
    }
    written();
    CU_ASSERT_EQUAL(mpisift_dataset_explain(f.path, NULL, "x", text, sizeof text), MPISIFT_OK);
    CU_ASSERT_STRING_EQUAL(text, "pread");
    dataset = open_dataset(&f, NULL, NULL, 0, 0);
    source = mpisift_dataset_source(dataset);
    wrong = count_wrong(&source, PACKED_ROWS, ids);
    CU_ASSERT(damage > 0 ? wrong != 0 || strlen(mpisift_error(f.ctx)) == 0 : wrong == 0);
    mpisift_dataset_close(&dataset);
  }
  end(&f);
}

#endif

#ifdef HAVE_LZ4

static void put_big_endian(uint64_t value, int bytes, unsigned char *to)
{
  for (int i = 0; i < bytes; i++)
    to[i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
}

/* In blocks that do not divide the chunk; each third as it is. */
static size_t pack_lz4(const void *raw, size_t bytes, unsigned char *to, size_t room)
{
  enum { BLOCK = 3000 };
  size_t at = 12;

  put_big_endian(bytes, 8, to);
  put_big_endian(BLOCK, 4, to + 8);
  for (size_t first = 0; first < bytes; first += BLOCK) {
    const char *from = (const char *)raw + first;
    size_t n = bytes - first < BLOCK ? bytes - first : BLOCK;
    size_t packed = first / BLOCK % 3 == 0
                        ? n
                        : (size_t)LZ4_compress_default(from, (char *)to + at + 4, (int)n, (int)(room - at - 4));

    if (packed == n)
      memcpy(to + at + 4, from, n);
    put_big_endian(packed, 4, to + at);
    at += 4 + packed;
  }
  return at;
}

static void lz4(void)
{
  check_packed(32004, pack_lz4);
}

#endif

#ifdef HAVE_ZSTD

static size_t pack_zstd(const void *raw, size_t bytes, unsigned char *to, size_t room)
{
  return ZSTD_compress(to, room, raw, bytes, 3);
}

static void zstd(void)
{
  check_packed(32015, pack_zstd);
}

#endif

TEST_MAIN("packed",
#ifdef HAVE_LZ4
          {"LZ4", lz4},
#endif
#ifdef HAVE_ZSTD
          {"Zstandard", zstd},
#endif
          {"unknown filter", unknown_filter})
