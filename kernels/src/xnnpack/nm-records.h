// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What layers took when they were measured.

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-space.h"

#ifdef __cplusplus
extern "C" {
#endif

// Element types that layers may have: each has costs and records of its own.
#define XNN_NUM_NM_TYPES 3

// The number of an element type of images; 0, that of f32, where N:M operators do not support it.
XNN_INTERNAL size_t xnn_find_nm_type(enum xnn_datatype datatype);

// Stores this hardware's costs of each type.
XNN_INTERNAL void xnn_init_nm_type_costs(struct xnn_nm_costs costs[XNN_NUM_NM_TYPES]);

struct xnn_nm_records {
  // Owned; NULL if there are none.
  struct xnn_nm_record* records;
  size_t num_records;
  // Picoseconds of the unit of costs.
  float unit_ps;
};

// The fastest that was measured of a kind.
struct xnn_nm_measured {
  bool is_known;
  struct xnn_nm_candidate candidate;
  // For one output pixel, in the unit of costs.
  float cost;
};

// Those that records tell layers of one shape apart by: of weights, and of columns in tiles of 8 and of 32 output channels.
#define XNN_NUM_NM_DENSITIES 3

XNN_INTERNAL enum xnn_status xnn_get_nm_densities(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    float densities[XNN_NUM_NM_DENSITIES]);

// Finds the fastest of the records of a layer, of those whose densities are nearest, for each kind of candidate, indexed by xnn_nm_candidate_kind.
XNN_INTERNAL void xnn_find_nm_records(
    const struct xnn_nm_records* records,
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    struct xnn_nm_measured measured[XNN_NUM_NM_CANDIDATE_KINDS]);

// Whether N:M operators support the type of a record, all its numbers are in their ranges, and its candidate's name has an
// end.
XNN_INTERNAL bool xnn_is_nm_record(const struct xnn_nm_record* record);

#ifdef __cplusplus
}  // extern "C"
#endif
