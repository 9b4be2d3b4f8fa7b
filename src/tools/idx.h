/* IDX files, the format of MNIST: a big-endian header (0, 0, type, dimensions, sizes) and a dense array. */
#ifndef MSIFT_TOOLS_IDX_H
#define MSIFT_TOOLS_IDX_H

#include "tools/input.h"

bool idx_recognise(const unsigned char magic[6]);
bool idx_open(input *in);

#endif
