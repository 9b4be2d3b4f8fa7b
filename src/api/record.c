/* A sample on its way from the stage to a batch, in the pool and between ranks: a tag, the lengths of its padded
 * fields, and its fields one after the other, without padding. */
#include <string.h>

#include "api/loader.h"

/* Bytes of a field's contents: all, or as many rows as its length says. */
static size_t content(const mpisift_loader *l, int f, const int64_t *length)
{
  return l->padded[f] ? (size_t)*length * (l->field_bytes[f] / (size_t)l->fields[f].shape[0]) : l->field_bytes[f];
}

static const int64_t *lengths_of(const unsigned char *record)
{
  return (const int64_t *)(const void *)(record + sizeof(struct msift_tag));
}

size_t msift_record_size(const mpisift_loader *l, const unsigned char *record)
{
  const int64_t *length = lengths_of(record);
  size_t bytes = sizeof(struct msift_tag) + (size_t)l->n_padded * sizeof *length;

  if (l->n_padded == 0)
    return l->record_bytes;
  for (int f = 0; f < l->source.n_fields; f++) {
    bytes += content(l, f, length);
    length += l->padded[f];
  }
  return (bytes + 7) / 8 * 8;
}

static const unsigned char *staged(const mpisift_loader *l, int f, int64_t i)
{
  return msift_stage_row(l, f, l->pushed ? l->stage.arrivals[i].candidate : i);
}

static struct msift_tag tag_of(const mpisift_loader *l, int64_t i)
{
  const struct msift_stage *s = &l->stage;

  return (struct msift_tag){.id = s->ids[i],
                            .epoch = l->epoch,
                            .loss = s->losses[i],
                            .probability = s->chances[i].probability,
                            .weight = s->chances[i].weight};
}

void msift_record_write(const mpisift_loader *l, int64_t i, unsigned char *record)
{
  const struct msift_stage *s = &l->stage;
  const int64_t *length = lengths_of(record);
  const struct msift_tag tag = tag_of(l, i);

  memcpy(record, &tag, sizeof tag);
  record += sizeof tag;
  if (l->n_padded > 0)
    memcpy(record, s->lengths + i * l->n_padded, (size_t)l->n_padded * sizeof *length);
  record += (size_t)l->n_padded * sizeof *length;
  for (int f = 0; f < l->source.n_fields; f++) {
    size_t bytes = content(l, f, length);

    memcpy(record, staged(l, f, i), bytes);
    record += bytes;
    length += l->padded[f];
  }
}

struct msift_tag msift_record_read(mpisift_loader *l, const unsigned char *record, int64_t row)
{
  const int64_t *length = lengths_of(record);
  struct msift_tag tag;

  memcpy(&tag, record, sizeof tag);
  record += sizeof tag + (size_t)l->n_padded * sizeof *length;
  for (int f = 0; f < l->source.n_fields; f++) {
    unsigned char *to = (unsigned char *)l->batch_data[f] + (size_t)row * l->field_bytes[f];
    size_t bytes = content(l, f, length);

    memcpy(to, record, bytes);
    memset(to + bytes, 0, l->field_bytes[f] - bytes);
    record += bytes;
    if (l->padded[f])
      l->columns.lengths[f][row] = *length++;
  }
  return tag;
}

/* Rows with lengths are a sifter's, and do not stay in the stage. */
struct msift_tag msift_staged_read(mpisift_loader *l, int64_t i, int64_t row)
{
  for (int f = 0; f < l->source.n_fields && !(l->stage.in_batch && i == row); f++)
    memcpy((unsigned char *)l->batch_data[f] + (size_t)row * l->field_bytes[f], staged(l, f, i), l->field_bytes[f]);
  return tag_of(l, i);
}
