/* The inputs of mpisift convert: CSV, IDX and NumPy files, gzipped or not, one or two in a row. What can be opened is
 * read to its end, or ends with a message. */
#include <hdf5.h>

#include "fuzz.h"
#include "tools/h5.h"
#include "tools/series.h"

enum { MOST_ROW = 1 << 20, PIECE = 7 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  (void)argc, (void)argv;
  h5_start();
  return 0;
}

static void read_all(series *s)
{
  void *rows[INPUT_MAX_FIELDS] = {NULL};
  int64_t read = 0, n;

  for (int f = 0; f < s->n_fields; f++) {
    MUST(s->fields[f].row_bytes > 0);
    rows[f] = malloc(PIECE * s->fields[f].row_bytes);
    MUST(rows[f]);
  }
  for (; read < s->rows; read += n) {
    n = s->rows - read < PIECE ? s->rows - read : PIECE;
    if (!series_read(s, n, rows))
      break;
  }
  MUST(s->row == read);
  for (int f = 0; f < s->n_fields; f++)
    free(rows[f]);
}

static bool is_small(const series *s)
{
  for (int f = 0; f < s->n_fields; f++) {
    if (s->fields[f].row_bytes > MOST_ROW)
      return false;
  }
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct bytes b = {data, size};
  char path[64], argument[80], *arguments[2] = {argument, argument};
  static const char *const labels[] = {NULL, "1", "2", "y"};
  unsigned how = take(&b);
  const input_csv_options csv = {
      .label = labels[how & 3], .header = (enum input_header)((how >> 2) % 3), .delimiter = how & 16 ? ';' : ','};
  int file = memory_file(b.data, b.size, path);
  series s;

  snprintf(argument, sizeof argument, "%s%s", how & 32 ? "" : "x=", path);
  if (series_open(&s, how & 64 ? 2 : 1, arguments, &csv) && is_small(&s))
    read_all(&s);
  series_close(&s);
  close(file);
  return 0;
}
