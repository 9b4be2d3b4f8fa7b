#include "tools/idx.h"

#include "tools/h5.h"
#include "tools/tool.h"

static hid_t element_type(unsigned char code)
{
  switch (code) {
  case 0x08:
    return h5_type('u', 1, false);
  case 0x09:
    return h5_type('i', 1, false);
  case 0x0b:
    return h5_type('i', 2, true);
  case 0x0c:
    return h5_type('i', 4, true);
  case 0x0d:
    return h5_type('f', 4, true);
  case 0x0e:
    return h5_type('f', 8, true);
  default:
    return -1;
  }
}

bool idx_recognise(const unsigned char magic[6])
{
  return magic[0] == 0 && magic[1] == 0 && magic[2] >= 0x08 && magic[2] <= 0x0e && magic[3] > 0;
}

bool idx_open(input *in)
{
  unsigned char head[4], sizes[4 * 255];
  uint64_t dims[255];

  if (stream_read(in->stream, head, sizeof head) < (ptrdiff_t)sizeof head)
    return false;
  hid_t type = element_type(head[2]);
  if (type < 0) {
    tool_error("'%s': IDX element type 0x%02x is unknown", stream_path(in->stream), head[2]);
    return false;
  }
  int ndim = head[3];
  ptrdiff_t got = stream_read(in->stream, sizes, 4 * (size_t)ndim);
  if (got < 4 * ndim) {
    if (got >= 0)
      tool_error("'%s' is truncated within its IDX header", stream_path(in->stream));
    H5Tclose(type);
    return false;
  }
  for (int d = 0; d < ndim; d++) {
    const unsigned char *s = sizes + 4 * d;
    dims[d] = (uint64_t)s[0] << 24 | (uint64_t)s[1] << 16 | (uint64_t)s[2] << 8 | s[3];
  }
  return input_set_array(in, type, ndim, dims);
}
