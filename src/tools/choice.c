#include "tools/choice.h"

#include "tools/tool.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 65536 };

/* Random numbers of a row are independent of one another. */
enum { DRAW_PART, DRAW_KEPT, DRAW_COPIES, DRAW_NOISY, DRAW_LABEL };

static uint64_t draw(const choice *c, uint32_t what)
{
  uint64_t seed = (uint64_t)c->plan->options.seed;
  philox4x32_ctr_t counter = {{(uint32_t)c->row, (uint32_t)(c->row >> 32), what, 0}};
  philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};

  counter = philox4x32(counter, key);
  return (uint64_t)counter.v[1] << 32 | counter.v[0];
}

/* Selection sampling (Knuth, The Art of Computer Programming 3.4.2, algorithm S): of `left` rows to come, `wanted` are
 * taken, exactly. The remainder's bias is below left / 2^64. */
static bool take(uint64_t random, uint64_t left, uint64_t *wanted)
{
  bool taken = random % left < *wanted;

  *wanted -= taken;
  return taken;
}

static int next_part(choice *c)
{
  uint64_t place = draw(c, DRAW_PART) % c->left;
  int part = place < c->wanted[PART_TEST]                             ? PART_TEST
             : place < c->wanted[PART_TEST] + c->wanted[PART_HOLDOUT] ? PART_HOLDOUT
                                                                      : PART_TRAIN;
  c->left--;
  c->wanted[part] -= part != PART_TRAIN;
  return part;
}

/* Where a label is in the sorted list, or would be. */
static int find_class(int n, const choice_class *classes, int64_t label)
{
  int low = 0, high = n;

  while (low < high) {
    int middle = (low + high) / 2;

    if (classes[middle].label < label)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool choice_needs_labels(const choice_options *o)
{
  return o->imbalance > 1 || o->label_noise > 0;
}

void choice_plan_begin(choice_plan *plan, const choice_options *options, int64_t rows, bool injects)
{
  *plan = (choice_plan){.options = *options, .rows = rows};
  plan->injects = injects && (choice_needs_labels(options) || options->duplicates > 0);
  plan->kept = rows - options->wanted[PART_TEST] - options->wanted[PART_HOLDOUT];
}

static bool add_class(choice_plan *plan, int at, int64_t label)
{
  choice_class *classes = NULL;

  if (plan->n_classes == MAX_CLASSES) {
    tool_error("there are more than %d different labels; --imbalance and --label-noise need classes", MAX_CLASSES);
    return false;
  }
  classes = realloc(plan->classes, ((size_t)plan->n_classes + 1) * sizeof *classes);
  if (!classes) {
    tool_error("out of memory");
    return false;
  }
  plan->classes = classes;
  memmove(classes + at + 1, classes + at, (size_t)(plan->n_classes - at) * sizeof *classes);
  classes[at] = (choice_class){.label = label};
  plan->n_classes++;
  return true;
}

bool choice_count(choice_plan *plan, choice *counting, int64_t label)
{
  int part = next_part(counting), k = find_class(plan->n_classes, plan->classes, label);

  counting->row++;
  if (part != PART_TRAIN)
    return true;
  if ((k == plan->n_classes || plan->classes[k].label != label) && !add_class(plan, k, label))
    return false;
  plan->classes[k].rows++;
  return true;
}

static void plan_classes(choice_plan *plan)
{
  plan->kept = 0;
  for (int k = 0; k < plan->n_classes; k++) {
    choice_class *class = &plan->classes[k];
    double share = plan->n_classes == 1 ? 1 : pow(plan->options.imbalance, -(double)k / (plan->n_classes - 1));

    class->wanted = llround((double)class->rows * share);
    class->wanted = class->wanted < 1 ? 1 : class->wanted;
    plan->kept += class->wanted;
  }
}

bool choice_plan_end(choice_plan *plan)
{
  if (!plan->injects)
    return true;
  if (plan->options.imbalance > 1)
    plan_classes(plan);
  if (plan->options.label_noise > 0 && plan->n_classes < 2) {
    tool_error("--label-noise needs labels of two classes or more, but there is one only");
    return false;
  }
  double copies = plan->options.duplicates * (double)plan->kept;
  if (copies > (double)(INT64_MAX / 4)) {
    tool_error("--duplicates %g makes too many rows", plan->options.duplicates);
    return false;
  }
  plan->copies = llround(copies);
  plan->noisy = llround(plan->options.label_noise * (double)plan->kept);
  return true;
}

void choice_plan_release(choice_plan *plan)
{
  free(plan->classes);
  plan->classes = NULL;
}

int64_t choice_rows(const choice_plan *plan, int part)
{
  return part == PART_TRAIN ? plan->kept + plan->copies : plan->options.wanted[part];
}

bool choice_begin(choice *c, const choice_plan *plan)
{
  size_t bytes = (size_t)plan->n_classes * sizeof *plan->classes;

  *c = (choice){.plan = plan, .left = (uint64_t)plan->rows};
  for (int p = 0; p < N_PARTS; p++)
    c->wanted[p] = (uint64_t)plan->options.wanted[p];
  c->kept = (uint64_t)plan->kept;
  c->copies = (uint64_t)plan->copies;
  c->noisy = (uint64_t)plan->noisy;
  if (plan->n_classes == 0)
    return true;
  c->classes = malloc(bytes);
  if (!c->classes) {
    tool_error("out of memory");
    return false;
  }
  memcpy(c->classes, plan->classes, bytes);
  return true;
}

static bool next_kept(choice *c, choice_class *class)
{
  uint64_t wanted = (uint64_t) class->wanted;
  bool kept = take(draw(c, DRAW_KEPT), (uint64_t) class->rows, &wanted);

  class->wanted = (int64_t)wanted;
  return kept;
}

/* The label of a class other than the k-th, each equally likely. */
static int64_t other_label(const choice *c, int k)
{
  uint64_t others = (uint64_t)c->plan->n_classes - 1;
  uint64_t step = 1 + draw(c, DRAW_LABEL) % others;

  return c->classes[((uint64_t)k + step) % (others + 1)].label;
}

/* Each kept row has copies / kept copies, rounded down; what is left is chosen like the others. */
static int64_t next_times(choice *c)
{
  uint64_t each = (uint64_t)(c->plan->copies / c->plan->kept);
  uint64_t more = c->copies - each * c->kept;
  bool one_more = take(draw(c, DRAW_COPIES), c->kept, &more);

  c->copies -= each + one_more;
  return 1 + (int64_t)each + one_more;
}

/* The class of a label as it was counted; NULL with an error where there are more than that. */
static choice_class *counted_class(choice *c, int64_t label)
{
  int n = c->plan->n_classes, k = find_class(n, c->classes, label);

  if (k < n && c->classes[k].label == label && c->classes[k].rows > 0)
    return &c->classes[k];
  tool_error("the labels changed while they were read");
  return NULL;
}

static bool next_training_row(choice *c, int64_t label, fate *f)
{
  choice_class *class = NULL;

  if (c->plan->n_classes > 0) {
    class = counted_class(c, label);
    if (!class)
      return false;
    bool kept = c->plan->options.imbalance > 1 ? next_kept(c, class) : true;
    class->rows--;
    f->times = kept;
    if (!kept)
      return true;
  }
  f->times = next_times(c);
  f->is_relabelled = take(draw(c, DRAW_NOISY), c->kept, &c->noisy);
  if (f->is_relabelled)
    f->label = other_label(c, (int)(class - c->classes));
  c->kept--;
  return true;
}

bool choice_next(choice *c, int64_t label, fate *f)
{
  *f = (fate){.part = next_part(c), .times = 1};
  if (c->plan->injects && f->part == PART_TRAIN && !next_training_row(c, label, f))
    return false;
  c->row++;
  return true;
}

void choice_end(choice *c)
{
  free(c->classes);
  c->classes = NULL;
}
