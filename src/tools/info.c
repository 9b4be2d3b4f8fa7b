/* mpisift info: describes the data sets of an HDF5 file. */
#include "tools/describe_files.h"
#include "tools/h5.h"
#include "tools/info_json.h"
#include "tools/tool.h"
#include "tools/watch.h"

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
  printf("%s", d->path);
  if (d->n_files > 1)
    printf(" and %d more", d->n_files - 1);
  printf("\n");
  print_attributes(&d->attributes, "  ");
  for (int g = 0; g < d->n_groups; g++)
    print_group(&d->groups[g]);
}

static void help(void)
{
  printf("usage: mpisift info [--json] FILE... [GROUP]\n\n"
         "Describe the groups of an HDF5 file, or one of them. Several files, or a pattern such as 'part-*.h5', are\n"
         "described as the one data set that they make. What is said: rows; and for each field type, shape of a\n"
         "sample, layout, chunk shape, filters and bytes stored, how it is read, attributes (@), and how often\n"
         "each label occurs, for integer fields of at most %d different values.\n\n"
         "  --json        the same as JSON\n"
         "  --timeout S   give a file up when there is no progress for S seconds (default 60)\n"
         "  -h, --help\n",
         DESCRIBE_MAX_CLASSES);
}

/* What the command line asks for. */
typedef struct request {
  bool json;
  int64_t timeout;
  int n;
  char *const *names;
  const char *group;
} request;

static int describe_and_print(const request *r)
{
  description d;
  int status;

  if (!watch_begin(r->names[0], r->timeout, &status))
    return status;
  bool ok = describe_files(&d, r->n, r->names, r->group);

  if (ok && r->json)
    info_print_json(&d);
  else if (ok)
    print_text(&d);
  describe_release(&d);
  return ok ? TOOL_OK : TOOL_FAILURE;
}

/* Words that are files; a group may follow. */
static int take_words(request *r, int n, char *const *words)
{
  r->n = n > 0;
  while (r->n < n && describe_is_file(words[r->n]))
    r->n++;
  if (r->n == 0 || n > r->n + 1)
    return tool_usage_error("info", "%s", n == 0 ? "no file given" : "too many arguments");
  r->names = words;
  r->group = n > r->n ? words[r->n] : "/";
  return TOOL_OK;
}

int tool_info(int argc, char **argv)
{
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
  request r = {.timeout = 60};
  int option;

  h5_start();
  while ((option = tool_getopt(argc, argv, ":h", options)) != -1) {
    if (option == 'h') {
      help();
      return TOOL_OK;
    }
    if (option == '?')
      return TOOL_USAGE;
    if (option == 'j')
      r.json = true;
    else if (!tool_parse_int(optarg, 1, INT32_MAX, &r.timeout))
      return tool_usage_error("info", "--timeout '%s' is not a number of seconds from 1", optarg);
  }
  int status = take_words(&r, argc - optind, argv + optind);
  return status == TOOL_OK ? describe_and_print(&r) : status;
}
