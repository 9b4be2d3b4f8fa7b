#ifndef MSIFT_API_SOURCE_H
#define MSIFT_API_SOURCE_H

#include "api/context.h"

/* Whether a source is complete; records what is wrong. */
mpisift_status msift_source_check(const mpisift_source *source, struct msift_error *error);

/* Whether fields are complete; records what is wrong, with `what` for their owner's name.
 */
mpisift_status msift_fields_check(int n, const mpisift_field *fields, const char *what, struct msift_error *error);

/* A number that differs where fields, in number, name, type or shape, differ. */
uint64_t msift_source_hash(const mpisift_source *source);

#endif
