/* What works on the memory of a CUDA device: a table of functions. All work is enqueued on a stream, a cudaStream_t
 * seen as void *, and nothing waits but what says so. Arrays are the device's unless "host" is said; small structures
 * are host memory and copied at the call. What is decided is bit for bit what core/decide.h and core/history.h decide.
 */
#ifndef MSIFT_BACKEND_DEVICE_H
#define MSIFT_BACKEND_DEVICE_H

#include "backend/backend.h"

/* The bins of a history (core/bins.h), as a device looks keys up: top[key >> 20], and from there on by splits of 16. */
struct msift_device_bins {
  int n;
  int16_t *top;   /* [4096] */
  int16_t *split; /* [splits][16] */
};

/* This rank's losses of the window: a ring of `capacity` places in two arrays. Bad losses have key 0, and count
 * nowhere. The host knows the orders of the candidates, hence which places expire. */
struct msift_device_window {
  uint32_t *keys;
  int32_t *groups; /* NULL: no classes */
  int64_t capacity;
};

/* Count n losses of the window, from place `first` of the ring on: words[group] += change, words[groups + bin] +=
 * change, modulo 2^32. */
struct msift_device_count {
  struct msift_device_window window;
  int64_t first, n;
  uint32_t change;
  struct msift_device_bins bins;
  int64_t groups;
  bool in_groups, in_bins; /* which of the two are counted */
  uint32_t *words;
};

/* How a policy's threshold comes about. */
enum msift_device_law {
  MSIFT_LAW_CONSTANT,    /* `constant` */
  MSIFT_LAW_BY_BIN,      /* by_bin[bin] */
  MSIFT_LAW_AT_LEAST,    /* 2^32 where the measure is at least `parameter`, else 0 */
  MSIFT_LAW_PROPORTIONAL /* min(1, parameter × measure), 0 where that is not positive */
};

/* What a round decides by; made on the host while candidates are scored. The modifiers come in the order of
 * core/decide.h. */
struct msift_device_terms {
  enum msift_device_law law;
  uint64_t constant;
  double parameter;
  const uint64_t *by_bin;          /* [bins]; NULL if the law is another */
  const uint8_t *outliers;         /* [bins]: the guard drops these; NULL: no guard */
  const uint64_t *by_group;        /* [groups]: of the class floor; NULL: none */
  uint64_t floor;                  /* of all */
  uint64_t coverage_epochs, epoch; /* 0 epochs: no coverage */
  bool weighted;                   /* weights are factor / p, at most `clip` if that is > 0; else 1 */
  double factor, clip;
  uint32_t accept_key; /* of Philox2x32 */
};

enum msift_device_measure {
  MSIFT_DEVICE_LOSS,
  MSIFT_DEVICE_BOUND,
  MSIFT_DEVICE_UNCERTAINTY, /* 1 − confidence */
  MSIFT_DEVICE_REDUCIBLE    /* loss − reference */
};

/* What the host learns of a round besides its words; all -1 at first. Rows are the lowest that the fault concerns. */
struct msift_device_findings {
  int64_t bad_row;       /* a score that is NaN, infinite or out of range */
  int64_t bad_group_row; /* a class outside [0, groups): fails the round */
  double bad_value;      /* of bad_row: the score at fault, */
  float bad_loss;        /* and the loss */
  int32_t bad_group;
};

/* Decide on n candidates, in ascending order of places, and record them. */
struct msift_device_round {
  int64_t n;
  const int64_t *ids;
  const int32_t *places; /* in the round */
  bool scored, sifting;  /* there are losses, which are recorded; the policy decides, else all good ones are accepted */
  enum msift_device_measure measure;
  const float *losses, *bounds, *confidences; /* the latter two as the measure asks for them */
  const void *references;                     /* as above */
  bool references_f64;
  const int32_t *classes; /* NULL: none */
  int64_t groups;

  struct msift_device_terms terms;
  struct msift_device_window window; /* keys and classes go to places `first` on of the ring */
  int64_t first;
  struct msift_device_bins bins, next; /* next: by which the words count, if `refitting` */
  bool refitting;
  int64_t too_old; /* of a round longer than the window: candidates below this place are kept, but not counted */

  /* Results. */
  uint8_t *accepted;
  float *probabilities, *weights;
  int32_t *kept;     /* [n]: accepted rows, ascending; */
  int64_t *n_kept;   /* their number */
  uint32_t *changes; /* words of the history: [groups + bins], added to */
  uint32_t *map;     /* bits of accepted places, or where `holder` > 0 words of 2 × holder + accepted; added to */
  uint32_t holder;
  uint32_t *bad, *outliers, *accepted_count, *failed; /* words of the header, added to; `failed` at most once */
  struct msift_device_findings *findings;
};

/* Rows of fields, one array a field, and columns beside them; NULL columns are not there. */
struct msift_device_rows {
  int n_fields;
  unsigned char *fields[MPISIFT_MAX_FIELDS];
  size_t bytes[MPISIFT_MAX_FIELDS]; /* of a row */
};

/* Rows `rows[0..n)` of the stage as records (struct msift_tag and the fields, record_bytes each) to places `first` on
 * of a ring of `capacity` records. n_rows is the host's. */
struct msift_device_pack {
  struct msift_device_rows from;
  const int32_t *rows; /* NULL: row i is i */
  int64_t n;
  const int64_t *ids;
  const float *losses, *probabilities, *weights; /* losses NULL: NaN */
  int64_t epoch;
  unsigned char *records;
  int64_t first, capacity;
  size_t record_bytes;
};

/* n records as rows of a batch: record i is at sources[i], a pointer. Rows from n to n_padded are filled with zeros and
 * ids of −1. */
struct msift_device_scatter {
  int64_t n, n_padded;
  const unsigned char *const *sources; /* [n] */
  const int64_t *slots;                /* [n] */
  int64_t padding_epoch;
  struct msift_device_rows to;
  int64_t *ids, *to_slots, *epochs;
  float *losses, *probabilities, *weights;
  uint64_t *id_hash; /* += the sum of mix(id + 1), as the books have it (core/random.h) */
};

struct msift_device {
  /* Memory, zeroed and counted. NULL with an error recorded. */
  void *(*allocate)(struct msift_memory *memory, struct msift_error *error, int64_t n, size_t size);
  void (*release)(struct msift_memory *memory, void *block);

  /* Copies between page-locked host memory and the device, and within it; bytes set to one value. */
  mpisift_status (*upload)(void *to, const void *from, size_t bytes, void *stream, struct msift_error *error);
  mpisift_status (*download)(void *to, const void *from, size_t bytes, void *stream, struct msift_error *error);
  mpisift_status (*copy)(void *to, const void *from, size_t bytes, void *stream, struct msift_error *error);
  /* n items of a size, `stride` bytes apart, to the host one behind the other. */
  mpisift_status (*gather)(void *to, const void *from, size_t stride, size_t size, int64_t n, void *stream,
                           struct msift_error *error);
  mpisift_status (*fill)(void *to, int byte, size_t bytes, void *stream, struct msift_error *error);

  /* Points in a stream. `reach` waits on the host; of an event never recorded it does not. */
  mpisift_status (*event_create)(void **event, struct msift_error *error);
  void (*event_destroy)(void *event);
  mpisift_status (*event_record)(void *event, void *stream, struct msift_error *error);
  mpisift_status (*event_reach)(void *event, struct msift_error *error);
  mpisift_status (*synchronize)(void *stream, struct msift_error *error);

  /* The current device; a stream that work may be enqueued on now: it exists, and does not capture; memory that the
   * current device may write: ERR_ARG naming `what` otherwise. */
  mpisift_status (*get)(int *device, struct msift_error *error);
  mpisift_status (*set)(int device, struct msift_error *error);
  mpisift_status (*check_stream)(void *stream, const char *call, struct msift_error *error);
  mpisift_status (*check_pointer)(const void *pointer, const char *what, struct msift_error *error);

  /* Whether something of the caller's has failed that nobody has asked for, which our next check of a launch would take
   * for its own. It is asked for now: told once. */
  mpisift_status (*check_past)(const char *call, struct msift_error *error);

  /* Kernels. */
  mpisift_status (*losses)(const struct msift_losses *job, const mpisift_scores *scores, void *stream,
                           struct msift_error *error);
  mpisift_status (*tokens)(const struct msift_tokens *job, void *stream, struct msift_error *error);
  mpisift_status (*count)(const struct msift_device_count *job, void *stream, struct msift_error *error);
  size_t (*decide_scratch)(int64_t n); /* bytes that a decision on n candidates needs beside */
  mpisift_status (*decide)(const struct msift_device_round *job, void *scratch, size_t scratch_bytes, void *stream,
                           struct msift_error *error);
  mpisift_status (*pack)(const struct msift_device_pack *job, void *stream, struct msift_error *error);
  mpisift_status (*scatter)(const struct msift_device_scatter *job, void *stream, struct msift_error *error);
};

extern const struct msift_device msift_device_cuda;

/* NULL with an error where the library has no kernels for devices. */
const struct msift_device *msift_device_choose(const char *call, struct msift_error *error);

#endif
