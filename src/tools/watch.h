/* Work in a child process that is watched: HDF5 can crash or go round in circles on damaged files. */
#ifndef MSIFT_TOOLS_WATCH_H
#define MSIFT_TOOLS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Fork. The child gets true and goes on with the work. The parent gets false when the child has ended, and the
 * command's exit status; a child that crashes, or gives no sign of life for so many seconds, has failed to read `what`,
 * and a message says so. To be called before anything is printed. */
bool watch_begin(const char *what, int64_t seconds, int *status);

/* The child gets on. */
void watch_beat(void);

#endif
