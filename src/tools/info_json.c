#include "tools/info_json.h"

#include <inttypes.h>
#include <stdio.h>

static void print_string(const char *text)
{
  putchar('"');
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;

    if (c == '"' || c == '\\')
      printf("\\%c", c);
    else if (c < ' ' || c == 0x7f)
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
}

static void print_key(const char *key)
{
  printf("\"%s\": ", key);
}

static void print_string_item(const char *key, const char *text)
{
  print_key(key);
  print_string(text);
  printf(", ");
}

static void print_rows(int64_t rows)
{
  print_key("rows");
  if (rows < 0)
    printf("null, ");
  else
    printf("%" PRId64 ", ", rows);
}

static void print_attributes(const described_attributes *list)
{
  print_key("attributes");
  putchar('{');
  for (int i = 0; i < list->n; i++) {
    printf(i ? ", " : "");
    print_string(list->items[i].name);
    printf(": ");
    if (list->items[i].is_number)
      printf("%s", list->items[i].value);
    else
      print_string(list->items[i].value);
  }
  printf("}, ");
}

static void print_dims(const char *key, int n, const hsize_t *dims)
{
  print_key(key);
  putchar('[');
  for (int d = 0; d < n; d++)
    printf("%s%" PRIu64, d ? ", " : "", (uint64_t)dims[d]);
  printf("], ");
}

static void print_classes(const described_field *f)
{
  print_key("classes");
  putchar('[');
  for (int i = 0; i < f->n_classes; i++)
    printf("%s{\"label\": %" PRId64 ", \"count\": %" PRId64 ", \"share\": %.9g}", i ? ", " : "", f->classes[i].label,
           f->classes[i].count, (double)f->classes[i].count / (double)f->dims[0]);
  putchar(']');
}

static void print_field(const described_field *f)
{
  putchar('{');
  print_string_item("name", f->name);
  print_string_item("type", f->type);
  printf("\"usable\": %s, ", f->problem ? "false" : "true");
  print_rows(f->ndim > 0 ? (int64_t)f->dims[0] : -1);
  print_dims("shape", f->ndim > 0 ? f->ndim - 1 : 0, f->dims + 1);
  print_string_item("layout", f->layout);
  print_dims("chunk", f->chunk_ndim, f->chunk);
  print_key("filters");
  putchar('[');
  for (int i = 0; i < f->n_filters; i++) {
    printf(i ? ", " : "");
    print_string(f->filters[i]);
  }
  printf("], \"raw_bytes\": %" PRIu64 ", \"stored_bytes\": %" PRIu64 ", ", f->raw_bytes, f->stored_bytes);
  print_string_item("reading", f->reading);
  print_attributes(&f->attributes);
  print_classes(f);
  putchar('}');
}

static void print_group(const described_group *g)
{
  printf("\n  {");
  print_string_item("name", g->path);
  print_rows(g->rows);
  print_attributes(&g->attributes);
  print_key("fields");
  putchar('[');
  for (int f = 0; f < g->n_fields; f++) {
    printf(f ? ",\n   " : "\n   ");
    print_field(&g->fields[f]);
  }
  printf("]}");
}

void info_print_json(const description *d)
{
  putchar('{');
  print_string_item("file", d->path);
  printf("\"files\": %d, ", d->n_files);
  print_attributes(&d->attributes);
  print_key("groups");
  putchar('[');
  for (int g = 0; g < d->n_groups; g++) {
    printf(g ? "," : "");
    print_group(&d->groups[g]);
  }
  printf("]}\n");
}
