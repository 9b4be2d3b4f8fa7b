#include <config.h>

#include "io/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpisift/mpisift.h>

#ifdef HAVE_H5DCHUNK_ITER

struct finding {
  int64_t chunk_rows, n;
  struct msift_extent *chunks;
};

/* Offsets are in elements; those which some versions give in chunks do not fit, or are found out by comparing a row. */
static int note_chunk(const hsize_t *offset, unsigned mask, haddr_t address, hsize_t bytes, void *user)
{
  const struct finding *f = user;
  int64_t chunk = (int64_t)offset[0] / f->chunk_rows;

  if ((int64_t)offset[0] % f->chunk_rows != 0 || chunk >= f->n || bytes > UINT32_MAX)
    return H5_ITER_ERROR;
  f->chunks[chunk] = (struct msift_extent){address, (uint32_t)bytes, mask};
  return H5_ITER_CONT;
}

/* Addresses count from behind it until 1.14.4 (HDFGroup/hdf5#3003). */
static bool has_user_block(hid_t data)
{
  hid_t file = H5Iget_file_id(data), creation = H5Fget_create_plist(file);
  hsize_t bytes = 0;
  bool has = H5Pget_userblock(creation, &bytes) < 0 || bytes > 0;

  H5Pclose(creation);
  H5Fclose(file);
  return has;
}

bool msift_chunks_find(hid_t data, int descriptor, int64_t chunk_rows, int64_t n, struct msift_extent *chunks)
{
  struct finding f = {chunk_rows, n, chunks};

  (void)descriptor;
  if (!H5_VERSION_GE(1, 14, 4) && has_user_block(data))
    return false;
  memset(chunks, 0, (size_t)n * sizeof *chunks);
  return H5Dchunk_iter(data, H5P_DEFAULT, note_chunk, &f) >= 0;
}

#else

#if H5_VERSION_GE(1, 12, 0)
typedef H5O_info1_t object_info;
#else
typedef H5O_info_t object_info;
#endif

/* H5Dget_chunk_info() goes through all chunks up to the one that is asked for: 50,000 of them would take most of a
 * minute. H5Dread_chunk() finds a chunk at once but does not tell where. So the file is opened a second time, with a
 * driver that notes what is to be read of a chunk and does not read it. */
struct recording {
  int descriptor;
  bool on;
  int reads;
  haddr_t address;
  size_t bytes;
};

struct recorder {
  H5FD_t base;
  struct recording *recording;
  haddr_t end_allocated, end;
};

static H5FD_t *recorder_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
  struct recording *const *recording = H5Pget_driver_info(access);
  struct recorder *r = recording == NULL ? NULL : calloc(1, sizeof *r);
  off_t end;

  (void)name, (void)flags, (void)most;
  if (r == NULL)
    return NULL;
  r->recording = *recording;
  end = lseek(r->recording->descriptor, 0, SEEK_END);
  r->end = end < 0 ? 0 : (haddr_t)end;
  return &r->base;
}

static herr_t recorder_close(H5FD_t *file)
{
  free(file);
  return 0;
}

static int recorder_compare(const H5FD_t *a, const H5FD_t *b)
{
  return a < b ? -1 : a > b;
}

static herr_t recorder_query(const H5FD_t *file, unsigned long *features)
{
  (void)file;
  *features = 0;
  return 0;
}

static haddr_t recorder_end_allocated(const H5FD_t *file, H5FD_mem_t type)
{
  (void)type;
  return ((const struct recorder *)(const void *)file)->end_allocated;
}

static herr_t recorder_set_end_allocated(H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
  (void)type;
  ((struct recorder *)(void *)file)->end_allocated = end;
  return 0;
}

static haddr_t recorder_end(const H5FD_t *file, H5FD_mem_t type)
{
  (void)type;
  return ((const struct recorder *)(const void *)file)->end;
}

/* What lies beyond the end reads as zeros, as with HDF5's own drivers. */
static herr_t recorder_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t bytes, void *to)
{
  struct recording *recording = ((struct recorder *)(void *)file)->recording;
  unsigned char *at = to;

  (void)transfer;
  if (recording->on && type == H5FD_MEM_DRAW) {
    recording->reads++;
    recording->address = address;
    recording->bytes = bytes;
    return 0;
  }
  while (bytes > 0) {
    ssize_t n = pread(recording->descriptor, at, bytes, (off_t)address);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0) {
      memset(at, 0, bytes);
      return 0;
    }
    at += n;
    address += (haddr_t)n;
    bytes -= (size_t)n;
  }
  return 0;
}

static herr_t recorder_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t bytes,
                             const void *from)
{
  (void)file, (void)type, (void)transfer, (void)address, (void)bytes, (void)from;
  return -1;
}

static const H5FD_class_t recorder_class = {
    .name = "mpisift-chunks",
    .maxaddr = ((haddr_t)1 << 62),
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(struct recording *),
    .open = recorder_open,
    .close = recorder_close,
    .cmp = recorder_compare,
    .query = recorder_query,
    .get_eoa = recorder_end_allocated,
    .set_eoa = recorder_set_end_allocated,
    .get_eof = recorder_end,
    .read = recorder_read,
    .write = recorder_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* What could not be read. A chunk that has a size is damaged, and has one that cannot be right; else it was never
 * stored. Where there are no filters, HDF5 says the same size of each, and has to tell which it is. */
static struct msift_extent unread(hid_t data, const hsize_t *offset, bool filtered)
{
  hsize_t bytes = 0;
  bool damaged = filtered && H5Dget_chunk_storage_size(data, offset, &bytes) >= 0 && bytes > 0;

  return (struct msift_extent){.bytes = damaged ? UINT32_MAX : 0};
}

static bool is_filtered(hid_t data)
{
  hid_t properties = H5Dget_create_plist(data);
  bool filtered = H5Pget_nfilters(properties) > 0;

  H5Pclose(properties);
  return filtered;
}

static bool record_chunks(hid_t data, struct recording *recording, int64_t chunk_rows, int64_t n,
                          struct msift_extent *chunks)
{
  hsize_t offset[MPISIFT_MAX_DIMS + 2] = {0};
  bool filtered = is_filtered(data);
  unsigned char none;

  for (int64_t i = 0; i < n; i++) {
    uint32_t skipped = 0;
    herr_t code;

    offset[0] = (hsize_t)(i * chunk_rows);
    recording->reads = 0;
    recording->on = true;
    code = H5Dread_chunk(data, H5P_DEFAULT, offset, &skipped, &none);
    recording->on = false;
    if (code >= 0 && (recording->reads != 1 || recording->bytes > UINT32_MAX))
      return false;
    chunks[i] = code < 0 ? unread(data, offset, filtered)
                         : (struct msift_extent){recording->address, (uint32_t)recording->bytes, skipped};
  }
  return true;
}

static hid_t open_recorded(hid_t data, hid_t driver, struct recording *recording, hid_t *file)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  object_info info;

  *file = H5I_INVALID_HID;
  if (H5Pset_driver(access, driver, &recording) >= 0 && H5Oget_info2(data, &info, H5O_INFO_BASIC) >= 0)
    *file = H5Fopen("chunks", H5F_ACC_RDONLY, access);
  H5Pclose(access);
  return *file < 0 ? H5I_INVALID_HID : H5Oopen_by_addr(*file, info.addr);
}

bool msift_chunks_find(hid_t data, int descriptor, int64_t chunk_rows, int64_t n, struct msift_extent *chunks)
{
  struct recording recording = {.descriptor = descriptor};
  hid_t driver = H5FDregister(&recorder_class), file = H5I_INVALID_HID, again = H5I_INVALID_HID;
  bool found;

  if (driver >= 0)
    again = open_recorded(data, driver, &recording, &file);
  found = again >= 0 && record_chunks(again, &recording, chunk_rows, n, chunks);
  if (again >= 0)
    H5Dclose(again);
  if (file >= 0)
    H5Fclose(file);
  if (driver >= 0)
    H5FDunregister(driver);
  return found;
}

#endif
