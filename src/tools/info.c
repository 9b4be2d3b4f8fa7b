/* mpisift info: describes the data sets of an HDF5 file. */
#include "tools/describe.h"
#include "tools/h5.h"
#include "tools/info_json.h"
#include "tools/tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Names and attributes come from the file and must not steer the terminal. */
static void print_clean(const char *text)
{
  for (; *text; text++)
    putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void print_attributes(const described_attributes *list, const char *indent)
{
  for (int i = 0; i < list->n; i++) {
    printf("%s@", indent);
    print_clean(list->items[i].name);
    printf(": ");
    print_clean(list->items[i].value);
    putchar('\n');
  }
}

static void print_dims(int n, const hsize_t *dims)
{
  for (int d = 0; d < n; d++)
    printf("%s%" PRIu64 "%s", d ? ", " : " [", (uint64_t)dims[d], d + 1 < n ? "" : "]");
}

static void print_storage(const described_field *f)
{
  printf(", %s", f->layout);
  print_dims(f->chunk_ndim, f->chunk);
  for (int i = 0; i < f->n_filters; i++) {
    printf(", ");
    print_clean(f->filters[i]);
  }
  printf(", %" PRIu64 " of %" PRIu64 " bytes stored", f->stored_bytes, f->raw_bytes);
  if (f->raw_bytes > 0)
    printf(" (%.1f %%)", 100 * (double)f->stored_bytes / (double)f->raw_bytes);
}

static void print_classes(const described_field *f)
{
  if (f->n_classes > 0)
    printf("     %12s %12s %9s\n", "label", "count", "share");
  for (int i = 0; i < f->n_classes; i++)
    printf("     %12" PRId64 " %12" PRId64 " %7.2f %%\n", f->classes[i].label, f->classes[i].count,
           100 * (double)f->classes[i].count / (double)f->dims[0]);
}

static void print_field(const described_field *f, bool show_rows)
{
  printf("  ");
  print_clean(f->name);
  printf(": %s", f->type);
  if (f->ndim > 1)
    print_dims(f->ndim - 1, f->dims + 1);
  if (show_rows && f->ndim > 0)
    printf(", %" PRIu64 " rows", (uint64_t)f->dims[0]);
  print_storage(f);
  if (f->problem)
    printf("; not a field for training: %s", f->problem);
  else
    printf("; read by %s", f->reading);
  putchar('\n');
  print_attributes(&f->attributes, "     ");
  print_classes(f);
}

static void print_group(const described_group *g)
{
  bool is_root = strcmp(g->path, "/") == 0;

  print_clean(g->path);
  if (g->rows >= 0)
    printf(": %" PRId64 " rows\n", g->rows);
  else
    printf(": its fields have no common number of rows\n");
  if (!is_root)
    print_attributes(&g->attributes, "  ");
  for (int f = 0; f < g->n_fields; f++)
    print_field(&g->fields[f], g->rows < 0);
}

static void print_text(const description *d)
{
  printf("%s\n", d->path);
  print_attributes(&d->attributes, "  ");
  for (int g = 0; g < d->n_groups; g++)
    print_group(&d->groups[g]);
}

static void help(void)
{
  printf("usage: mpisift info [--json] FILE [GROUP]\n\n"
         "Describe the groups of an HDF5 file, or one of them: rows; and for each field type, shape of a\n"
         "sample, layout, chunk shape, filters and bytes stored, how it is read, attributes (@), and how\n"
         "often each label occurs, for integer fields of at most %d different values.\n\n"
         "  --json      the same as JSON\n"
         "  -h, --help\n",
         DESCRIBE_MAX_CLASSES);
}

static int describe_and_print(const char *path, const char *group, bool json)
{
  description d;
  bool ok = describe_file(&d, path, group);

  if (ok && json)
    info_print_json(&d);
  else if (ok)
    print_text(&d);
  describe_release(&d);
  return ok ? TOOL_OK : TOOL_FAILURE;
}

int tool_info(int argc, char **argv)
{
  static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
  bool json = false;
  int option;

  h5_start();
  while ((option = tool_getopt(argc, argv, ":h", options)) != -1) {
    if (option == 'h') {
      help();
      return TOOL_OK;
    }
    if (option == '?')
      return TOOL_USAGE;
    json = true;
  }
  if (argc - optind < 1 || argc - optind > 2)
    return tool_usage_error("info", "%s", optind == argc ? "no file given" : "too many arguments");
  return describe_and_print(argv[optind], argc - optind == 2 ? argv[optind + 1] : "/", json);
}
