/* mpisift bench: measures parts of the library. */
#include "tools/bench.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/context.h"
#include "base/clock.h"
#include "tools/json.h"
#include "tools/tool.h"

static const benchmark *const benchmarks[] = {
    &bench_decide, &bench_exchange, &bench_history, &bench_indices,
    &bench_losses, &bench_plan,     &bench_read,    &bench_step,
};

enum { N_BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

typedef struct bench_command {
  const benchmark *chosen;
  const char *json; /* NULL: none */
  bool help;
  int cores, nodes;
  bench_job job;
} bench_command;

void bench_put(bench_job *job, const char *prefix, const char *name, double value, const char *what)
{
  bench_figure *figure = &job->figures[job->n_figures++];

  assert(job->n_figures <= BENCH_MAX_FIGURES);
  snprintf(figure->key, sizeof figure->key, "%s%s%s", prefix, prefix[0] != '\0' ? "_" : "", name);
  figure->value = value;
  figure->what = what;
}

int bench_fail(const bench_job *job, const char *format, ...)
{
  char text[2048];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (job->rank == 0)
    tool_error("%s", text);
  return TOOL_FAILURE;
}

bool bench_all(const bench_job *job, bool mine)
{
  int all = mine;

  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_LAND, job->comm);
  return all;
}

double bench_start(const bench_job *job)
{
  MPI_Barrier(job->comm);
  return msift_seconds();
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

double bench_median(double *samples, int64_t n)
{
  qsort(samples, (size_t)n, sizeof *samples, ascending);
  return (samples[(n - 1) / 2] + samples[n / 2]) / 2;
}

double bench_ratio(const double *a, const double *b, int64_t n, double *ratios)
{
  for (int64_t i = 0; i < n; i++)
    ratios[i] = a[i] / b[i];
  return bench_median(ratios, n);
}

void bench_slowest(const bench_job *job, double *samples, int64_t n)
{
  MPI_Allreduce(MPI_IN_PLACE, samples, (int)n, MPI_DOUBLE, MPI_MAX, job->comm);
}

void bench_quickest(const bench_job *job, double *samples, int64_t n)
{
  MPI_Allreduce(MPI_IN_PLACE, samples, (int)n, MPI_DOUBLE, MPI_MIN, job->comm);
}

static void key_of(const bench_option *option, char *key)
{
  snprintf(key, BENCH_MAX_KEY, "%s", option->name);
  for (; *key != '\0'; key++)
    *key = *key == '-' ? '_' : *key;
}

/* The name and version of MPI; what follows them is about its build. */
static void name_mpi(char *name)
{
  int length;

  MPI_Get_library_version(name, &length);
  name[strcspn(name, ",\n")] = '\0';
}

static void print_json(const void *what, FILE *to)
{
  const bench_command *command = what;
  const bench_job *job = &command->job;
  const bench_option *options = command->chosen->options;
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING], key[BENCH_MAX_KEY];

  name_mpi(mpi);
  fprintf(to, "{\n  ");
  json_text(to, "benchmark", command->chosen->name);
  fprintf(to, ",\n  ");
  json_text(to, "version", MPISIFT_VERSION);
  fprintf(to, ",\n  ");
  json_text(to, "mpi", mpi);
  fprintf(to, ",\n  \"ranks\": %d,\n  \"nodes\": %d,\n  \"cores\": %d", job->ranks, command->nodes, command->cores);
  for (int i = 0; options[i].name; i++) {
    key_of(&options[i], key);
    fprintf(to, ",\n  ");
    if (options[i].text)
      json_text(to, key, job->texts[i]);
    else
      json_number(to, key, job->values[i]);
  }
  for (int i = 0; i < job->n_figures; i++) {
    fprintf(to, ",\n  ");
    json_number(to, job->figures[i].key, job->figures[i].value);
  }
  fprintf(to, "\n}\n");
}

static void print_table(const bench_command *command, FILE *to)
{
  const bench_job *job = &command->job;
  const bench_option *options = command->chosen->options;

  fprintf(to, "%s: %d rank%s, %d node%s with %d core%s;", command->chosen->name, job->ranks, job->ranks > 1 ? "s" : "",
          command->nodes, command->nodes > 1 ? "s" : "", command->cores, command->cores > 1 ? "s" : "");
  for (int i = 0; options[i].name; i++) {
    fprintf(to, "%s %s ", i > 0 ? "," : "", options[i].name);
    if (options[i].text)
      fprintf(to, "%s", job->texts[i]);
    else
      fprintf(to, "%.9g", job->values[i]);
  }
  fprintf(to, "\n\n");
  for (int i = 0; i < job->n_figures; i++)
    fprintf(to, "%-36s %12.6g  %s\n", job->figures[i].key, job->figures[i].value, job->figures[i].what);
}

static int report(const bench_command *command)
{
  const char *path = command->json;
  char message[512];

  print_table(command, path && strcmp(path, "-") == 0 ? stderr : stdout);
  if (path && !json_write(path, print_json, command, message, sizeof message))
    return bench_fail(&command->job, "%s", message);
  return TOOL_OK;
}

/* Nodes are named by their lowest rank. */
static int count_nodes(const struct msift_team *team)
{
  int nodes = 0;

  for (int r = 0; r < team->size; r++)
    nodes += team->node[r] == r;
  return nodes;
}

static int with_context(bench_command *command)
{
  bench_job *job = &command->job;
  mpisift_team team = {.comm = job->comm, .replica = MPI_COMM_NULL};
  char message[1024] = "";
  int code;

  if (mpisift_open(&team, NULL, message, sizeof message, &job->ctx) != MPISIFT_OK)
    return bench_fail(job, "%s", message);
  command->nodes = count_nodes(&job->ctx->team);
  command->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
  code = command->chosen->run(job);
  if (code == TOOL_OK && job->rank == 0)
    code = report(command);
  MPI_Bcast(&code, 1, MPI_INT, 0, job->comm);
  mpisift_close(&job->ctx);
  return code;
}

static void print_options(const benchmark *b)
{
  char left[64];

  for (const bench_option *option = b->options; option->name; option++) {
    snprintf(left, sizeof left, "--%s %s", option->name, option->placeholder);
    if (option->text)
      printf("  %-22s %s (%s)\n", left, option->help, option->text);
    else
      printf("  %-22s %s (%.9g)\n", left, option->help, option->initial);
  }
}

static void help(const benchmark *chosen)
{
  printf("usage: mpirun -n RANKS mpisift bench %s [options]\n\n"
         "Measure a part of the library. Times are medians over many repetitions.\n\n"
         "  %-22s write the results to FILE; - is standard output\n"
         "  -h, --help\n",
         chosen ? chosen->name : "NAME", "--json FILE");
  for (int i = 0; i < N_BENCHMARKS; i++) {
    if (chosen && chosen != benchmarks[i])
      continue;
    printf("\n%s: %s\n", benchmarks[i]->name, benchmarks[i]->summary);
    print_options(benchmarks[i]);
  }
}

static int refuse(const bench_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(const bench_job *job, const char *format, ...)
{
  char text[1024];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return job->rank == 0 ? tool_usage_error("bench", "%s", text) : TOOL_USAGE;
}

/* Take the text of option i. */
static int take_value(bench_job *job, const bench_option *option, int i, const char *text)
{
  char *end;
  double number = strtod(text, &end);

  job->texts[i] = text;
  if (option->text)
    return TOOL_OK;
  if (end == text || *end != '\0' || !(number >= option->min && number <= option->max) ||
      (!option->real && number != (double)(int64_t)number))
    return refuse(job, "--%s %s: give a %snumber from %.9g to %.9g", option->name, text, option->real ? "" : "whole ",
                  option->min, option->max);
  job->values[i] = number;
  return TOOL_OK;
}

/* argv[0] is the benchmark's name. */
static int read_options(bench_command *command, int argc, char **argv)
{
  const bench_option *options = command->chosen->options;
  struct option table[BENCH_MAX_OPTIONS + 3] = {{"json", required_argument, NULL, 'j'},
                                                {"help", no_argument, NULL, 'h'}};
  int code = TOOL_OK, found;

  for (int i = 0; options[i].name; i++) {
    table[i + 2] = (struct option){options[i].name, required_argument, NULL, i + 256};
    command->job.values[i] = options[i].initial;
    command->job.texts[i] = options[i].text;
  }
  opterr = 0;
  while (code == TOOL_OK && (found = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
    if (found == ':')
      code = refuse(&command->job, "option '%s' needs a value", argv[optind - 1]);
    else if (found == '?')
      code = refuse(&command->job, "unknown option '%s'", argv[optind - 1]);
    else if (found == 'j')
      command->json = optarg;
    else if (found == 'h')
      command->help = true;
    else
      code = take_value(&command->job, &options[found - 256], found - 256, optarg);
  }
  if (code == TOOL_OK && optind < argc)
    code = refuse(&command->job, "one benchmark at a time: '%s' is one too many", argv[optind]);
  return code;
}

static int find(bench_command *command, int argc, char **argv)
{
  if (argc < 2)
    return refuse(&command->job, "give the name of a benchmark");
  command->help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
  if (command->help)
    return TOOL_OK;
  for (int i = 0; i < N_BENCHMARKS; i++) {
    if (strcmp(argv[1], benchmarks[i]->name) == 0)
      command->chosen = benchmarks[i];
  }
  return command->chosen ? read_options(command, argc - 1, argv + 1)
                         : refuse(&command->job, "there is no benchmark '%s'", argv[1]);
}

/* Ask before the work whether its results can be written. */
static int check_file(const bench_command *command)
{
  char message[512] = "";
  bool writable = command->job.rank != 0 || json_can_write(command->json, message, sizeof message);

  return bench_all(&command->job, writable) ? TOOL_OK : bench_fail(&command->job, "%s", message);
}

static int start(bench_command *command, int argc, char **argv)
{
  int code = find(command, argc, argv);

  if (code == TOOL_OK && command->help && command->job.rank == 0)
    help(command->chosen);
  if (code != TOOL_OK || command->help)
    return code;
  MPI_Comm_dup(MPI_COMM_WORLD, &command->job.comm);
  code = check_file(command);
  if (code == TOOL_OK)
    code = with_context(command);
  MPI_Comm_free(&command->job.comm);
  return code;
}

int tool_bench(int argc, char **argv)
{
  bench_command command = {0};
  int provided, code;

  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &command.job.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &command.job.ranks);
  code = start(&command, argc, argv);
  MPI_Finalize();
  return code;
}
