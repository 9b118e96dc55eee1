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
#include "xnnpack/nm-layer.h"
#include "xnnpack/subgraph.h"
#include "pthreadpool.h"

#ifdef __cplusplus
extern "C" {
#endif

// The last input of a convolution node is added to its output, before clamping.
#define XNN_FLAG_ADD_LAST_INPUT 0x00008000
// Marks conversions of layouts among the transpositions of the graph itself.
#define XNN_FLAG_CONVERT_LAYOUT 0x00004000

// Runs layers with N:M operators, in the layout that is predicted to be fastest for all of the graph.
//
// flags  of the runtime.
XNN_INTERNAL enum xnn_status xnn_subgraph_rewrite_for_nm(xnn_subgraph_t subgraph, uint32_t flags);

// Stores for each node whether it is to run in CNHW layout. Layers carry a choice already.
XNN_INTERNAL enum xnn_status xnn_choose_nm_layouts(const struct xnn_subgraph* subgraph, uint32_t flags, bool* in_cnhw);

// Lets padding with the least value there is become part of the maximum pooling that follows.
XNN_INTERNAL void xnn_subgraph_fuse_least_padding(xnn_subgraph_t subgraph);

// Lets layers on N:M operators add what a following node adds, and clamp what the next one clamps.
//
// in_cnhw  for each node, whether it runs in CNHW layout.
XNN_INTERNAL void xnn_subgraph_fuse_additions(xnn_subgraph_t subgraph, uint32_t flags, const bool* in_cnhw);

// Lets values that convolutions in CNHW layout write lie in bands, one for each thread, where all that read them can.
XNN_INTERNAL enum xnn_status xnn_subgraph_choose_bands(xnn_subgraph_t subgraph);

// Whether two shapes are the same but for axes of one element in front of one of them.
XNN_INLINE static bool xnn_are_nm_shapes_alike(const struct xnn_shape* a, const struct xnn_shape* b)
{
  const struct xnn_shape* longer = a->num_dims < b->num_dims ? b : a;
  const struct xnn_shape* shorter = a->num_dims < b->num_dims ? a : b;
  const size_t more = longer->num_dims - shorter->num_dims;
  for (size_t i = 0; i < longer->num_dims; i++) {
    if (longer->dim[i] != (i < more ? 1 : shorter->dim[i - more])) {
      return false;
    }
  }
  return true;
}

XNN_INLINE static bool xnn_is_nm_image(const struct xnn_value* value)
{
  return value->shape.num_dims == 4 && !xnn_value_is_static(value);
}

// Whether a node reads this input in NHWC layout at no further cost: a convolution's image, not what it adds.
XNN_INLINE static bool xnn_reads_nhwc(const struct xnn_subgraph* subgraph, const struct xnn_node* node, uint32_t input)
{
  return node->type == xnn_node_type_convolution_2d && input == 0 &&
    subgraph->values[node->inputs[0]].shape.dim[3] <= XNN_MAX_DIRECT_CHANNELS;
}

// Whether an input that is in CNHW, or not, must be converted for a node that runs in CNHW, or not.
XNN_INLINE static bool xnn_needs_nm_conversion(
  const struct xnn_subgraph* subgraph,
  const struct xnn_node* node,
  uint32_t input,
  bool input_in_cnhw,
  bool node_in_cnhw)
{
  return input_in_cnhw != node_in_cnhw && !(node_in_cnhw && xnn_reads_nhwc(subgraph, node, input));
}

// How nodes that are not layers run in CNHW layout.
struct xnn_cnhw_functions {
  xnn_create_operator_fn create;
  xnn_reshape_operator_fn reshape;
  xnn_setup_operator_fn setup;
};

// Maximum and average pooling; means over rows and columns; padding of rows and columns; two images of one shape, or an
// image and one number for each channel; concatenation of channels.
XNN_INTERNAL extern const struct xnn_cnhw_functions xnn_cnhw_pooling;
XNN_INTERNAL extern const struct xnn_cnhw_functions xnn_cnhw_mean;
XNN_INTERNAL extern const struct xnn_cnhw_functions xnn_cnhw_pad;
XNN_INTERNAL extern const struct xnn_cnhw_functions xnn_cnhw_binary;
XNN_INTERNAL extern const struct xnn_cnhw_functions xnn_cnhw_concatenate;

// Whether the node can run in CNHW layout.
XNN_INTERNAL bool xnn_node_supports_cnhw(const struct xnn_subgraph* subgraph, const struct xnn_node* node);

// Whether a node that runs in CNHW layout writes something else than an image in it.
XNN_INTERNAL bool xnn_node_leaves_cnhw(const struct xnn_node* node);

// Makes a node, but for layers, that does run in CNHW layout.
XNN_INTERNAL void xnn_node_run_in_cnhw(struct xnn_node* node);

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

// Returns an error if a node reads a value that is made row by row in any other way than as a filter of a convolution.
XNN_INTERNAL enum xnn_status xnn_check_row_values(xnn_subgraph_t subgraph);

// Whether any value of the graph is made row by row.
XNN_INTERNAL bool xnn_has_row_values(xnn_subgraph_t subgraph);

// Rows of the input of a fully connected layer.
XNN_INTERNAL size_t xnn_count_nm_rows(const struct xnn_value* input, const struct xnn_value* filter);

// The arguments of a layer that N:M operators support, a convolution or a fully connected layer of f32, f16 or signed bytes
// with static weights, or false.
XNN_INTERNAL bool xnn_node_get_nm_layer(
    const struct xnn_value* values,
    const struct xnn_node* node,
    struct xnn_nm_layer* layer);

struct xnn_nm_choice;

// Lets a node run on the operator that was chosen.
XNN_INTERNAL void xnn_node_carry_nm_choice(struct xnn_node* node, struct xnn_nm_choice* choice);

XNN_INLINE static size_t xnn_count_pixels(const struct xnn_value* image)
{
  return image->shape.dim[0] * image->shape.dim[1] * image->shape.dim[2];
}

// Transposes elements of f32 or of one byte, with XNNPACK's operators.
XNN_INTERNAL enum xnn_status xnn_create_elements_transpose(
    enum xnn_datatype datatype,
    xnn_operator_t* transpose_op_out);

XNN_INTERNAL enum xnn_status xnn_reshape_elements_transpose(
    xnn_operator_t op,
    size_t num_dims,
    const size_t* shape,
    const size_t* perm,
    pthreadpool_t threadpool);

XNN_INTERNAL enum xnn_status xnn_setup_elements_transpose(xnn_operator_t op, const void* input, void* output);

// Makes a node that brings an image from one layout to the other; its values' layouts tell which.
XNN_INTERNAL void xnn_node_convert_layout(struct xnn_node* node, uint32_t input_id, uint32_t output_id);

#ifdef __cplusplus
}  // extern "C"
#endif
