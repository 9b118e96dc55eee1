// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Nodes that bring an image from NHWC to CNHW layout or back.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/datatype.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"
#include "xnnpack/subgraph.h"
#include "pthreadpool.h"

// The transpose operators of elements of 1, 2 and 4 bytes.
static const struct transpose {
  enum xnn_operator_type type;
  enum xnn_status (*create)(uint32_t, xnn_operator_t*);
  enum xnn_status (*reshape)(xnn_operator_t, size_t, const size_t*, const size_t*, pthreadpool_t);
  enum xnn_status (*setup)(xnn_operator_t, const void*, void*);
} transposes[] = {
  {xnn_operator_type_transpose_nd_x8, xnn_create_transpose_nd_x8, xnn_reshape_transpose_nd_x8,
   xnn_setup_transpose_nd_x8},
  {xnn_operator_type_transpose_nd_x16, xnn_create_transpose_nd_x16, xnn_reshape_transpose_nd_x16,
   xnn_setup_transpose_nd_x16},
  {xnn_operator_type_transpose_nd_x32, xnn_create_transpose_nd_x32, xnn_reshape_transpose_nd_x32,
   xnn_setup_transpose_nd_x32},
};

static const struct transpose* find_transpose(enum xnn_operator_type type)
{
  size_t i = 0;
  while (transposes[i].type != type) {
    i += 1;
    assert(i < sizeof(transposes) / sizeof(transposes[0]));
  }
  return &transposes[i];
}

enum xnn_status xnn_create_elements_transpose(enum xnn_datatype datatype, xnn_operator_t* transpose_op_out)
{
  return transposes[xnn_datatype_log2_size_bytes(datatype)].create(/*flags=*/0, transpose_op_out);
}

enum xnn_status xnn_reshape_elements_transpose(
  xnn_operator_t op,
  size_t num_dims,
  const size_t* shape,
  const size_t* perm,
  pthreadpool_t threadpool)
{
  return find_transpose(op->type)->reshape(op, num_dims, shape, perm, threadpool);
}

enum xnn_status xnn_setup_elements_transpose(xnn_operator_t op, const void* input, void* output)
{
  return find_transpose(op->type)->setup(op, input, output);
}

static enum xnn_status create_conversion(
  const struct xnn_node* node,
  const struct xnn_value* values,
  size_t num_values,
  struct xnn_operator_data* opdata,
  struct xnn_code_cache* code_cache,
  xnn_weights_cache_t weights_cache)
{
  return xnn_create_elements_transpose(values[node->inputs[0]].datatype, &opdata->operator_objects[0]);
}

static enum xnn_status reshape_conversion(
  struct xnn_operator_data* opdata,
  struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  const struct xnn_value* input = &values[opdata->inputs[0]];
  struct xnn_value* output = &values[opdata->outputs[0]];
  const size_t* dims = input->shape.dim;
  const bool from_cnhw = input->layout == xnn_layout_type_cnhw;
  const size_t pixels = xnn_count_pixels(input);
  const bool in_bands = (opdata->flags & XNN_FLAG_INPUT_BANDS) != 0 && pixels != 0;
  const size_t band_pixels = in_bands ?
    xnn_get_nmspmm_band_pixels(pixels, pthreadpool_get_threads_count(threadpool)) : pixels;
  const size_t num_bands = in_bands ? divide_round_up(pixels, band_pixels) : 1;
  const size_t shape[3] = {num_bands, from_cnhw ? dims[3] : pixels, from_cnhw ? band_pixels : dims[3]};
  const size_t perm[3] = {0, 2, 1};
  enum xnn_status status = xnn_reshape_elements_transpose(opdata->operator_objects[0], 3, shape, perm, threadpool);
  if (status != xnn_status_success) {
    return status;
  }
  status = xnn_set_image_shape(output, dims[0], dims[1], dims[2], dims[3], false);
  // The last band is written as if it had as many pixels as the others.
  return xnn_grow_value(
    output, (num_bands * band_pixels * dims[3]) << xnn_datatype_log2_size_bytes(output->datatype), status);
}

static enum xnn_status setup_conversion(
  const struct xnn_operator_data* opdata,
  const struct xnn_value* values,
  size_t num_values,
  pthreadpool_t threadpool)
{
  return xnn_setup_elements_transpose(
    opdata->operator_objects[0], values[opdata->inputs[0]].data, values[opdata->outputs[0]].data);
}

void xnn_node_convert_layout(struct xnn_node* node, uint32_t input_id, uint32_t output_id)
{
  // A node may lie where another one did.
  *node = (struct xnn_node) {.id = node->id};
  node->type = xnn_node_type_static_transpose;
  node->flags = XNN_FLAG_CONVERT_LAYOUT;
  node->num_inputs = 1;
  node->inputs[0] = input_id;
  node->num_outputs = 1;
  node->outputs[0] = output_id;
  node->create = create_conversion;
  node->reshape = reshape_conversion;
  node->setup = setup_conversion;
}

enum xnn_status xnn_get_runtime_num_layout_conversions(
  xnn_runtime_t runtime,
  size_t* count)
{
  *count = 0;
  for (size_t i = 0; i < runtime->num_ops; i++) {
    const struct xnn_operator_data* opdata = &runtime->opdata[i];
    if (opdata->type == xnn_node_type_static_transpose && (opdata->flags & XNN_FLAG_CONVERT_LAYOUT) != 0) {
      *count += 1;
    }
  }
  return xnn_status_success;
}
