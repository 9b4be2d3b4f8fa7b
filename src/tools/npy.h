/* NumPy .npy files, versions 1 and 2: a header in Python's syntax and a dense array. */
#ifndef MSIFT_TOOLS_NPY_H
#define MSIFT_TOOLS_NPY_H

#include "tools/input.h"

bool npy_recognise(const unsigned char magic[6]);
bool npy_open(input *in);

#endif
