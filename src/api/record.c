/* A sample on its way from the stage to a batch, in the pool and between ranks: a tag, the lengths of its padded
 * fields, and its fields one after the other, without padding. Its fields stay in the stage until that is filled again.
 */
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
  const struct msift_stage *s = &l->stage;

  return (const unsigned char *)s->data[f] + (size_t)(l->pushed ? s->arrivals[i].candidate : i) * l->field_bytes[f];
}

/* Fields of a staged row to behind a record's tag and lengths. */
static void write_fields(const mpisift_loader *l, int64_t i, unsigned char *record)
{
  const int64_t *length = lengths_of(record);

  record += sizeof(struct msift_tag) + (size_t)l->n_padded * sizeof *length;
  for (int f = 0; f < l->source.n_fields; f++) {
    size_t bytes = content(l, f, length);

    memcpy(record, staged(l, f, i), bytes);
    record += bytes;
    length += l->padded[f];
  }
}

static struct msift_tag tag_of(const unsigned char *record)
{
  struct msift_tag tag;

  memcpy(&tag, record, sizeof tag);
  return tag;
}

/* What is pushed belongs to the caller. Else most samples are delivered before the stage is filled again, and need no
 * copy. */
void msift_record_write(const mpisift_loader *l, int64_t i, unsigned char *record)
{
  const struct msift_stage *s = &l->stage;
  struct msift_tag tag = {.id = s->ids[i],
                          .epoch = l->epoch,
                          .loss = s->losses[i],
                          .probability = s->chances[i].probability,
                          .weight = s->chances[i].weight,
                          .staged = l->pushed ? 0 : (uint32_t)i + 1};

  memcpy(record, &tag, sizeof tag);
  if (l->n_padded > 0)
    memcpy(record + sizeof tag, s->lengths + i * l->n_padded, (size_t)l->n_padded * sizeof *s->lengths);
  if (l->pushed)
    write_fields(l, i, record);
}

static void settle(const mpisift_loader *l, struct msift_tag tag, unsigned char *record)
{
  int64_t i = (int64_t)tag.staged - 1;

  tag.staged = 0;
  memcpy(record, &tag, sizeof tag);
  write_fields(l, i, record);
}

/* Those that came last are at the end of the queue. */
void msift_records_settle(mpisift_loader *l)
{
  for (int64_t i = l->pool.records.n - 1; i >= 0; i--) {
    unsigned char *record = msift_ring_at(&l->pool.records, i);
    struct msift_tag tag = tag_of(record);

    if (tag.staged == 0)
      return;
    settle(l, tag, record);
  }
}

size_t msift_record_copy(const mpisift_loader *l, const unsigned char *record, unsigned char *to)
{
  struct msift_tag tag = tag_of(record);
  size_t bytes = msift_record_size(l, record);

  if (tag.staged == 0)
    memcpy(to, record, bytes);
  else
    settle(l, tag, to);
  return bytes;
}

struct msift_tag msift_record_read(mpisift_loader *l, const unsigned char *record, int64_t row)
{
  const int64_t *length = lengths_of(record);
  struct msift_tag tag = tag_of(record);

  record += sizeof tag + (size_t)l->n_padded * sizeof *length;
  for (int f = 0; f < l->source.n_fields; f++) {
    unsigned char *to = (unsigned char *)l->batch_data[f] + (size_t)row * l->field_bytes[f];
    size_t bytes = content(l, f, length);

    memcpy(to, tag.staged == 0 ? record : staged(l, f, (int64_t)tag.staged - 1), bytes);
    memset(to + bytes, 0, l->field_bytes[f] - bytes);
    record += bytes;
    if (l->padded[f])
      l->columns.lengths[f][row] = *length++;
  }
  return tag;
}
