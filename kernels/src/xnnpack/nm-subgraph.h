// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// How a graph is changed so that N:M convolutions pay off.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/subgraph.h"

#ifdef __cplusplus
extern "C" {
#endif

// The last input of a convolution node is added to its output, before clamping.
#define XNN_FLAG_ADD_LAST_INPUT 0x00008000
// Marks conversions of layouts among the transpositions of the graph itself.
#define XNN_FLAG_CONVERT_LAYOUT 0x00004000

// Runs convolutions with N:M operators, in the layout that is predicted to be fastest for all of the graph.
//
// flags  of the runtime.
XNN_INTERNAL enum xnn_status xnn_subgraph_rewrite_for_nm(xnn_subgraph_t subgraph, uint32_t flags);

// Lets padding with minus infinity become part of the maximum pooling that follows.
XNN_INTERNAL void xnn_subgraph_fuse_infinite_padding(xnn_subgraph_t subgraph);

// Lets convolutions on N:M operators add what a following node adds, and clamp what the next one clamps.
//
// in_cnhw  for each node, whether it runs in CNHW layout.
XNN_INTERNAL void xnn_subgraph_fuse_additions(xnn_subgraph_t subgraph, uint32_t flags, const bool* in_cnhw);

// Lets values that convolutions in CNHW layout write lie in bands, one for each thread, where all that read them can.
XNN_INTERNAL enum xnn_status xnn_subgraph_choose_bands(xnn_subgraph_t subgraph);

// Whether the node can run in CNHW layout. Its outputs are in that layout, too, unless *nhwc_output is set.
XNN_INTERNAL bool xnn_node_supports_cnhw(
    const struct xnn_subgraph* subgraph,
    const struct xnn_node* node,
    bool* nhwc_output);

// Makes a node that does run in CNHW layout.
XNN_INTERNAL void xnn_node_run_in_cnhw(struct xnn_node* node);

XNN_INTERNAL void xnn_node_run_convolution_in_cnhw(struct xnn_node* node);

// Lets a value have more memory than its shape takes; status is that of storing the shape.
XNN_INTERNAL enum xnn_status xnn_grow_value(struct xnn_value* value, size_t size, enum xnn_status status);

// Stores the shape of an output, and tells whether it or the workspace needs more memory than it has.
XNN_INTERNAL enum xnn_status xnn_set_image_shape(
    struct xnn_value* output,
    size_t batch_size,
    size_t height,
    size_t width,
    size_t channels,
    bool workspace_grew);

XNN_INTERNAL enum xnn_status xnn_set_convolution_shape(
    const struct xnn_operator_data* opdata,
    struct xnn_value* values,
    size_t batch_size,
    size_t height,
    size_t width,
    bool workspace_grew);

// Returns an error if a node reads a value that is made row by row in any other way than as a filter of a convolution.
XNN_INTERNAL enum xnn_status xnn_check_row_values(xnn_subgraph_t subgraph);

// Whether any value of the graph is made row by row.
XNN_INTERNAL bool xnn_has_row_values(xnn_subgraph_t subgraph);

// Where a static value's rows come from.
XNN_INLINE static struct xnn_filter_rows xnn_get_filter_rows(const struct xnn_value* value)
{
  struct xnn_filter_rows rows;
  rows.data = value->read_row == NULL ? (const float*) value->data : NULL;
  rows.read = value->read_row;
  rows.context = value->data;
  return rows;
}

// Makes an NHWC convolution node that adds its last input; only the N:M operator can.
XNN_INTERNAL void xnn_node_run_residual_convolution(struct xnn_node* node);

XNN_INLINE static size_t xnn_count_pixels(const struct xnn_value* image)
{
  return image->shape.dim[0] * image->shape.dim[1] * image->shape.dim[2];
}

// What a convolution adds to its output, or NULL.
XNN_INLINE static const void* xnn_get_residual(const struct xnn_operator_data* opdata, const struct xnn_value* values)
{
  return (opdata->flags & XNN_FLAG_ADD_LAST_INPUT) == 0 ? NULL : values[opdata->inputs[opdata->num_inputs - 1]].data;
}

// Makes a node that brings an image from one layout to the other; its values' layouts tell which.
XNN_INTERNAL void xnn_node_convert_layout(struct xnn_node* node, uint32_t input_id, uint32_t output_id);

// The arguments of a convolution node of f32 with static weights, or false if it is not one.
XNN_INTERNAL bool xnn_node_get_nm_convolution(
    const struct xnn_value* values,
    const struct xnn_node* node,
    uint32_t flags,
    struct xnn_nm_convolution2d* conv);

// Chooses between the dense and the N:M operator in NHWC layout, and stores what is known of the filter.
//
// conv  with XNN_FLAG_ADD_LAST_INPUT if the dense operator would need an addition after it.
// flags  of the runtime.
// dense_cost  time of the dense operator for one pixel, and of that addition, in weights; 0 where it is not known.
XNN_INTERNAL enum xnn_nm_reason xnn_choose_nm_nhwc(
    const struct xnn_nm_convolution2d* conv,
    uint32_t flags,
    struct xnn_nmconv_analysis* analysis,
    struct xnn_nm_convolution_info* info,
    float* dense_cost);

// Which nodes of a graph to cut from the others, so that what is cut through and what is left costs least.
struct xnn_min_cut;

XNN_INTERNAL struct xnn_min_cut* xnn_create_min_cut(size_t num_nodes, size_t max_edges);
XNN_INTERNAL void xnn_delete_min_cut(struct xnn_min_cut* cut);

// Makes it cost that much to leave node `from` on the source's side and node `to` on the sink's. Node 0 is the source,
// node 1 is the sink.
XNN_INTERNAL void xnn_add_min_cut_edge(struct xnn_min_cut* cut, size_t from, size_t to, uint64_t cost);

#define XNN_INFINITE_CUT_COST (UINT64_MAX / 4)

// Stores for each node whether it is on the source's side of a cheapest cut. Returns false if infinite costs leave none.
XNN_INTERNAL bool xnn_solve_min_cut(struct xnn_min_cut* cut, bool* on_source_side);

#ifdef __cplusplus
}  // extern "C"
#endif
