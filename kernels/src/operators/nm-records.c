// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Element types by name, records of measured times, and the layers that they are of.

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/allocator.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-records.h"
#include "xnnpack/nm-space.h"

#define MAX_NANOSECONDS 1.0e15f
#define DENSITY_TOLERANCE 0.02f

// What else is known of each is in xnn_find_nm_datatype.
static const struct {
  const char* name;
  enum xnn_datatype datatype;
} types[XNN_NUM_NM_TYPES] = {
  {"f32", xnn_datatype_fp32},
  {"f16", xnn_datatype_fp16},
  {"qs8", xnn_datatype_qint8},
};

size_t xnn_find_nm_type(enum xnn_datatype datatype)
{
  size_t type = XNN_NUM_NM_TYPES - 1;
  while (type != 0 && types[type].datatype != datatype) {
    type--;
  }
  return type;
}

void xnn_init_nm_type_costs(struct xnn_nm_costs costs[XNN_NUM_NM_TYPES])
{
  for (size_t type = 0; type < XNN_NUM_NM_TYPES; type++) {
    costs[type] = *xnn_find_nm_datatype(types[type].datatype)->init_costs();
  }
}

enum xnn_datatype xnn_get_nm_datatype(const char* name)
{
  for (size_t type = 0; type < XNN_NUM_NM_TYPES; type++) {
    if (strcmp(name, types[type].name) == 0) {
      return types[type].datatype;
    }
  }
  return xnn_datatype_invalid;
}

const char* xnn_get_nm_datatype_name(size_t index)
{
  return index < XNN_NUM_NM_TYPES ? types[index].name : NULL;
}

bool xnn_is_nm_record(const struct xnn_nm_record* record)
{
  if (xnn_find_nm_datatype(record->datatype) == NULL) {
    return false;
  }
  const float densities[3] = {record->element_density, record->column_density_8, record->column_density_32};
  for (size_t i = 0; i < 3; i++) {
    if (!(densities[i] >= 0.0f && densities[i] <= 1.0f)) {
      return false;
    }
  }
  return record->nanoseconds > 0.0f && record->nanoseconds <= MAX_NANOSECONDS &&
    memchr(record->candidate, '\0', sizeof(record->candidate)) != NULL;
}

// Whether a record is of a layer, whatever its zeros are.
static bool is_of(const struct xnn_nm_record* record, const struct xnn_nm_layer* layer)
{
  return record->datatype == layer->datatype->datatype && record->batch_size == layer->batch_size &&
    record->input_height == layer->input_height && record->input_width == layer->input_width && record->output_height == layer->output_height &&
    record->output_width == layer->output_width && record->groups == layer->groups &&
    record->group_input_channels == layer->group_input_channels &&
    record->group_output_channels == layer->group_output_channels &&
    record->kernel_height == layer->kernel_height && record->kernel_width == layer->kernel_width &&
    record->stride_height == layer->stride_height && record->stride_width == layer->stride_width &&
    record->dilation_height == layer->dilation_height && record->dilation_width == layer->dilation_width;
}

// Columns with a non-zero out of all, in tiles of so many output channels. kept is room for the columns of a tile.
static float get_column_density(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  size_t tile,
  uint64_t* kept)
{
  const size_t channels = layer->group_output_channels;
  size_t num_columns = 0;
  size_t num_tiles = 0;
  for (size_t group = 0; group < layer->groups; group++) {
    for (size_t oc = 0; oc < channels; oc += tile) {
      num_columns += xnn_find_nm_kept_columns(zeros, group * channels + oc, min(tile, channels - oc), kept);
      num_tiles += 1;
    }
  }
  return (float) ((double) num_columns / ((double) num_tiles * (double) xnn_get_nm_row_size(layer)));
}

enum xnn_status xnn_get_nm_densities(
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  float densities[XNN_NUM_NM_DENSITIES])
{
  uint64_t* kept = xnn_allocate_memory(zeros->row_words * sizeof(uint64_t));
  if (kept == NULL) {
    xnn_log_error("failed to allocate %zu bytes to count columns", zeros->row_words * sizeof(uint64_t));
    return xnn_status_out_of_memory;
  }
  const double weights =
    (double) xnn_get_nm_row_size(layer) * (double) layer->groups * (double) layer->group_output_channels;
  densities[0] = (float) ((double) zeros->num_nonzeroes / weights);
  densities[1] = get_column_density(layer, zeros, 8, kept);
  densities[2] = get_column_density(layer, zeros, 32, kept);
  xnn_release_memory(kept);
  return xnn_status_success;
}

// How far the densities of a record are from others at most.
static float get_distance(const struct xnn_nm_record* record, const float densities[XNN_NUM_NM_DENSITIES])
{
  const float elements = fabsf(record->element_density - densities[0]);
  const float columns = math_max_f32(
    fabsf(record->column_density_8 - densities[1]), fabsf(record->column_density_32 - densities[2]));
  return math_max_f32(elements, columns);
}

// The candidates of a layer, and their names.
struct names {
  struct xnn_nm_candidate candidates[XNN_MAX_NM_CANDIDATES];
  char names[XNN_MAX_NM_CANDIDATES][XNN_NM_CANDIDATE_NAME_SIZE];
  size_t count;
};

static void list_names(const struct xnn_nm_layer* layer, struct names* names)
{
  names->count = xnn_list_nm_candidates(layer, names->candidates);
  for (size_t i = 0; i < names->count; i++) {
    xnn_name_nm_candidate(layer->datatype, &names->candidates[i], names->names[i]);
  }
}

// The candidate of that name, or NULL.
static const struct xnn_nm_candidate* find_candidate(const struct names* names, const char* name)
{
  for (size_t i = 0; i < names->count; i++) {
    if (strcmp(name, names->names[i]) == 0) {
      return &names->candidates[i];
    }
  }
  return NULL;
}

void xnn_find_nm_records(
  const struct xnn_nm_records* records,
  const struct xnn_nm_layer* layer,
  const struct xnn_nm_zeros* zeros,
  struct xnn_nm_measured measured[XNN_NUM_NM_CANDIDATE_KINDS])
{
  memset(measured, 0, XNN_NUM_NM_CANDIDATE_KINDS * sizeof(measured[0]));
  const double pixels = (double) xnn_get_nm_pixels(layer);
  float densities[XNN_NUM_NM_DENSITIES] = {-1.0f, 0.0f, 0.0f};
  // Of layers that are alike the nearest counts alone: times of others would upset what was decided for it.
  float nearest = DENSITY_TOLERANCE;
  bool any_records = false;
  for (size_t i = 0; i < records->num_records && pixels != 0.0; i++) {
    if (!is_of(&records->records[i], layer)) {
      continue;
    }
    if (densities[0] < 0.0f && xnn_get_nm_densities(layer, zeros, densities) != xnn_status_success) {
      // As if nothing had been measured.
      return;
    }
    const float distance = get_distance(&records->records[i], densities);
    any_records |= distance <= nearest;
    nearest = math_min_f32(nearest, distance);
  }
  if (!any_records) {
    return;
  }
  struct names names;
  list_names(layer, &names);
  for (size_t i = 0; i < records->num_records; i++) {
    const struct xnn_nm_record* record = &records->records[i];
    if (!is_of(record, layer) || get_distance(record, densities) > nearest) {
      continue;
    }
    const struct xnn_nm_candidate* candidate = find_candidate(&names, record->candidate);
    if (candidate == NULL) {
      continue;
    }
    const float cost = (float) ((double) record->nanoseconds * 1000.0 / (double) records->unit_ps / pixels);
    struct xnn_nm_measured* best = &measured[candidate->kind];
    if (!best->is_known || cost < best->cost) {
      *best = (struct xnn_nm_measured) {.is_known = true, .candidate = *candidate, .cost = cost};
    }
  }
}
