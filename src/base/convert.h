/* Arrays of one element type as another. */
#ifndef MSIFT_BASE_CONVERT_H
#define MSIFT_BASE_CONVERT_H

#include <stdbool.h>
#include <stddef.h>

#include <mpisift/mpisift.h>

struct msift_scaling {
  double scale, offset; /* value × scale + offset; 1 and 0: the value as it is */
};

/* Whether elements can be converted to a type: float32, float64, int32 or int64. */
bool msift_converts_to(mpisift_type type);

/* Convert n elements; `from` and `to` do not overlap. Integers become integers exactly if they are not scaled; all else
 * goes through float64, and is rounded to the nearest integer, ties to even, for an integer type. NaN and infinite
 * values stay so in float types. Returns n, or the index of the first element that the type cannot hold. */
int64_t msift_convert(mpisift_type from_type, const void *from, mpisift_type to_type, void *to, int64_t n,
                      struct msift_scaling scaling);

/* Element i in digits. */
void msift_element_text(mpisift_type type, const void *elements, int64_t i, char *text, size_t size);

#endif
