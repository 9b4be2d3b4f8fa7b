#include "backend/cuda/records.h"

#include "backend/cuda/device.h"

_Static_assert((int)MSIFT_CUDA_FIELDS == MPISIFT_MAX_FIELDS, "numbers of fields differ");

static struct msift_cuda_rows to_rows(const struct msift_device_rows *rows)
{
  struct msift_cuda_rows device = {.n = rows->n_fields};

  for (int f = 0; f < rows->n_fields; f++) {
    device.fields[f] = rows->fields[f];
    device.bytes[f] = rows->bytes[f];
  }
  return device;
}

mpisift_status msift_cuda_pack(const struct msift_device_pack *job, void *stream, struct msift_error *error)
{
  const struct msift_cuda_pack device = {.from = to_rows(&job->from),
                                         .rows = job->rows,
                                         .n = job->n,
                                         .ids = job->ids,
                                         .losses = job->losses,
                                         .probabilities = job->probabilities,
                                         .weights = job->weights,
                                         .epoch = job->epoch,
                                         .records = job->records,
                                         .first = job->first,
                                         .capacity = job->capacity,
                                         .record_bytes = job->record_bytes};

  if (job->n == 0)
    return MPISIFT_OK;
  return msift_cuda_check(msift_cuda_launch_pack(&device, stream), "packing records on the device", error);
}

/* Rows behind the last record. */
static mpisift_status fill_padding(const struct msift_device_scatter *job, void *stream, struct msift_error *error)
{
  size_t rows = (size_t)(job->n_padded - job->n);

  for (int f = 0; f < job->to.n_fields; f++) {
    size_t bytes = job->to.bytes[f];

    MSIFT_TRY(msift_device_cuda.fill(job->to.fields[f] + (size_t)job->n * bytes, 0, rows * bytes, stream, error));
  }
  return MPISIFT_OK;
}

mpisift_status msift_cuda_scatter(const struct msift_device_scatter *job, void *stream, struct msift_error *error)
{
  static const char what[] = "making a batch on the device";
  const struct msift_cuda_scatter device = {.n = job->n,
                                            .n_padded = job->n_padded,
                                            .sources = job->sources,
                                            .slots = job->slots,
                                            .padding_epoch = job->padding_epoch,
                                            .to = to_rows(&job->to),
                                            .ids = job->ids,
                                            .to_slots = job->to_slots,
                                            .epochs = job->epochs,
                                            .losses = job->losses,
                                            .probabilities = job->probabilities,
                                            .weights = job->weights,
                                            .id_hash = job->id_hash};

  if (job->n_padded > 0)
    MSIFT_TRY(msift_cuda_check(msift_cuda_launch_columns(&device, stream), what, error));
  if (job->n > 0 && job->to.n_fields > 0)
    MSIFT_TRY(msift_cuda_check(msift_cuda_launch_fields(&device, stream), what, error));
  return fill_padding(job, stream, error);
}
