/* A source whose fields are converted: rows are read into memory of its own and converted from there to their place. */
#include "base/convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/hash.h"
#include "api/source.h"

#define CALL "mpisift_convert_create"

struct conversion {
  bool wanted;
  mpisift_type from;
  int64_t elements; /* of a sample */
  struct msift_scaling scaling;
  unsigned char *rows; /* [capacity], as the source has them */
};

struct mpisift_convert {
  mpisift_ctx *ctx;
  mpisift_source source;
  mpisift_field fields[MPISIFT_MAX_FIELDS];
  struct conversion conversions[MPISIFT_MAX_FIELDS];
  int64_t capacity;
};

static mpisift_status reserve(mpisift_convert *c, int64_t n, struct msift_error *error)
{
  if (n <= c->capacity)
    return MPISIFT_OK;
  for (int f = 0; f < c->source.n_fields; f++)
    if (c->conversions[f].wanted)
      MSIFT_TRY(
          msift_resize(&c->ctx->memory, error, &c->conversions[f].rows, n, mpisift_field_bytes(&c->source.fields[f])));
  c->capacity = n;
  return MPISIFT_OK;
}

/* Where the source is to write n rows. */
static mpisift_status place(mpisift_convert *c, int64_t n, void *const *dst, void **places)
{
  MSIFT_TRY(reserve(c, n, msift_error_begin(c->ctx)));
  for (int f = 0; f < c->source.n_fields; f++)
    places[f] = c->conversions[f].wanted ? c->conversions[f].rows : dst[f];
  return MPISIFT_OK;
}

static mpisift_status refuse(mpisift_convert *c, int f, int64_t i, int64_t id)
{
  const struct conversion *conversion = &c->conversions[f];
  const mpisift_field *field = &c->fields[f];
  char value[64], scaled[64] = "";

  msift_element_text(conversion->from, conversion->rows, i, value, sizeof value);
  if (conversion->scaling.scale != 1 || conversion->scaling.offset != 0)
    snprintf(scaled, sizeof scaled, " × %g + %g", conversion->scaling.scale, conversion->scaling.offset);
  return msift_error_set(
      msift_error_begin(c->ctx), MPISIFT_ERR_DATA, "field %.64s of sample %lld, element %lld: %s%s does not fit in %s",
      field->name, (long long)id, (long long)(i % conversion->elements), value, scaled, mpisift_type_name(field->type));
}

static mpisift_status convert_field(mpisift_convert *c, int f, int64_t n, const int64_t *ids, void *to)
{
  const struct conversion *conversion = &c->conversions[f];
  int64_t elements = n * conversion->elements;
  int64_t i = msift_convert(conversion->from, conversion->rows, c->fields[f].type, to, elements, conversion->scaling);

  return i == elements ? MPISIFT_OK : refuse(c, f, i, ids[i / conversion->elements]);
}

static mpisift_status convert_rows(mpisift_convert *c, int64_t n, const int64_t *ids, void *const *dst)
{
  for (int f = 0; f < c->source.n_fields; f++)
    if (c->conversions[f].wanted)
      MSIFT_TRY(convert_field(c, f, n, ids, dst[f]));
  return MPISIFT_OK;
}

static int read_converted(void *user, int64_t n, const int64_t *ids, void *const *dst)
{
  mpisift_convert *c = user;
  void *places[MPISIFT_MAX_FIELDS];
  int code = (int)place(c, n, dst, places);

  if (code == 0)
    code = c->source.read(c->source.user, n, ids, places);
  return code != 0 ? code : (int)convert_rows(c, n, ids, dst);
}

/* A number of rows that is none is for the caller to refuse. */
static int pull_converted(void *user, int64_t want, int64_t *got, int64_t *ids, void *const *dst)
{
  mpisift_convert *c = user;
  void *places[MPISIFT_MAX_FIELDS];
  int code = (int)place(c, want, dst, places);

  if (code == 0)
    code = c->source.pull(c->source.user, want, got, ids, places);
  return code != 0 || *got < 0 || *got > want ? code : (int)convert_rows(c, *got, ids, dst);
}

static void prefetch(void *user, int64_t n, const int64_t *ids)
{
  mpisift_convert *c = user;

  c->source.prefetch(c->source.user, n, ids);
}

static int begin_epoch(void *user, int64_t epoch)
{
  mpisift_convert *c = user;

  return c->source.begin_epoch(c->source.user, epoch);
}

static mpisift_status set_conversion(mpisift_convert *c, const mpisift_conversion *asked, int i,
                                     struct msift_error *error)
{
  double scale = asked->scale == 0 ? 1 : asked->scale;
  int f = 0;

  while (f < c->source.n_fields && (asked->field == NULL || strcmp(c->fields[f].name, asked->field) != 0))
    f++;
  if (f == c->source.n_fields)
    return msift_error_set(error, MPISIFT_ERR_ARG, CALL ": conversions[%d]: the source has no field '%.64s'", i,
                           asked->field == NULL ? "NULL" : asked->field);
  if (c->conversions[f].wanted)
    return msift_error_set(error, MPISIFT_ERR_ARG, CALL ": conversions[%d]: field %.64s is converted already", i,
                           asked->field);
  if (!msift_converts_to(asked->type))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           CALL ": conversions[%d]: %s is not possible; convert to float32, float64, int32 or int64", i,
                           mpisift_type_name(asked->type));
  if (!isfinite(scale) || !isfinite(asked->offset))
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           CALL ": conversions[%d]: scale is %g and offset %g; give finite ones", i, asked->scale,
                           asked->offset);
  c->conversions[f] = (struct conversion){.wanted = true, .from = c->fields[f].type, .scaling = {scale, asked->offset}};
  c->conversions[f].elements = (int64_t)(mpisift_field_bytes(&c->fields[f]) / mpisift_type_size(c->fields[f].type));
  c->fields[f].type = asked->type;
  return MPISIFT_OK;
}

static mpisift_status check(const mpisift_source *source, const mpisift_conversion *conversions, int n,
                            struct msift_error *error)
{
  if (source == NULL || conversions == NULL || n < 1)
    return msift_error_set(error, MPISIFT_ERR_ARG,
                           CALL ": source or conversions is NULL, or their number is %d, less than 1", n);
  return msift_source_check(source, error);
}

static mpisift_status create_local(mpisift_ctx *ctx, const mpisift_source *source,
                                   const mpisift_conversion *conversions, int n, mpisift_convert **convert)
{
  mpisift_convert *c;

  MSIFT_TRY(check(source, conversions, n, &ctx->error));
  c = *convert = msift_alloc(&ctx->memory, &ctx->error, 1, sizeof *c);
  if (c == NULL)
    return ctx->error.status;
  c->ctx = ctx;
  c->source = *source;
  memcpy(c->fields, source->fields, (size_t)source->n_fields * sizeof *c->fields);
  for (int i = 0; i < n; i++)
    MSIFT_TRY(set_conversion(c, &conversions[i], i, &ctx->error));
  return msift_fields_check(source->n_fields, c->fields, CALL, &ctx->error);
}

static mpisift_status compare(mpisift_ctx *ctx, const mpisift_convert *c)
{
  const mpisift_source source = mpisift_convert_source(c);
  struct msift_setting settings[3] = {{"source.n", (uint64_t)source.n},
                                      {"source.fields or conversions", msift_source_hash(&source)}};
  uint64_t hash = 0;

  for (int f = 0; f < source.n_fields; f++) {
    hash = msift_hash(hash, &c->conversions[f].scaling.scale, sizeof(double));
    hash = msift_hash(hash, &c->conversions[f].scaling.offset, sizeof(double));
  }
  settings[2] = (struct msift_setting){"scale or offset of conversions", hash};
  return msift_team_compare(&ctx->team, settings, 3, &ctx->error);
}

static void release(mpisift_ctx *ctx, mpisift_convert **convert)
{
  for (int f = 0; *convert != NULL && f < (*convert)->source.n_fields; f++)
    msift_free(&ctx->memory, &(*convert)->conversions[f].rows);
  msift_free(&ctx->memory, convert);
}

mpisift_status mpisift_convert_create(mpisift_ctx *ctx, const mpisift_source *source,
                                      const mpisift_conversion *conversions, int n, mpisift_convert **convert)
{
  mpisift_convert *created = NULL;

  if (convert != NULL)
    *convert = NULL;
  if (ctx == NULL)
    return MPISIFT_ERR_ARG;
  MSIFT_TRY(msift_enter(ctx, CALL));
  if (convert == NULL)
    msift_error_set(&ctx->error, MPISIFT_ERR_ARG, CALL ": convert is NULL");
  else
    create_local(ctx, source, conversions, n, &created);
  if (msift_team_agree(&ctx->team, &ctx->error) != MPISIFT_OK || compare(ctx, created) != MPISIFT_OK) {
    release(ctx, &created);
  } else {
    ctx->children++;
    *convert = created;
  }
  return msift_leave(ctx);
}

mpisift_source mpisift_convert_source(const mpisift_convert *c)
{
  return (mpisift_source){.user = (void *)(uintptr_t)c,
                          .n = c->source.n,
                          .block = c->source.block,
                          .n_fields = c->source.n_fields,
                          .fields = c->fields,
                          .read = c->source.n < 0 ? NULL : read_converted,
                          .pull = c->source.n < 0 ? pull_converted : NULL,
                          .begin_epoch = c->source.begin_epoch == NULL ? NULL : begin_epoch,
                          .prefetch = c->source.prefetch == NULL ? NULL : prefetch};
}

void mpisift_convert_destroy(mpisift_convert **convert)
{
  if (convert == NULL || *convert == NULL)
    return;
  (*convert)->ctx->children--;
  release((*convert)->ctx, convert);
}
