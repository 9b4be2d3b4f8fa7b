#ifndef MSIFT_TOOLS_INFO_JSON_H
#define MSIFT_TOOLS_INFO_JSON_H

#include "tools/describe.h"

/* Print a description as one JSON object:
 * {"file", "attributes": {}, "groups": [{"name", "rows", "attributes": {}, "fields": [{"name", "type", "usable",
 * "rows", "shape": [], "layout", "chunk": [], "filters": [], "raw_bytes", "stored_bytes", "reading", "attributes": {},
 * "classes": [{"label", "count", "share"}]}]}]}; "rows" is null where fields differ or there are none. */
void info_print_json(const description *d);

#endif
