// SPDX-License-Identifier: BSD-3-Clause

// Lets an ONNX Runtime that finds XNNPACK in a shared library, as Debian's, run on our XNNPACK with N:M operators:
// docs/other-runtimes.md says how. It is preloaded before the library that it calls. A convolution that is created with
// zeros in a quarter of its columns becomes an N:M one; what is asked of it later, too.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

#include <xnnpack.h>
#include <xnnpack-nm-operators.h>

#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

enum { most_operators = 4096 };

// The N:M operators. They are created and deleted by one thread at a time; their places are taken again.
static xnn_operator_t operators[most_operators];

static xnn_operator_t* find(xnn_operator_t op)
{
  for (size_t i = 0; i < most_operators; i++) {
    if (operators[i] == op) {
      return &operators[i];
    }
  }
  return NULL;
}

// Whether a quarter of the columns of 8 rows each are zero: from there on N:M convolutions pay.
static bool has_zero_columns(const float* filter, size_t rows, size_t columns)
{
  size_t kept = 0, all = 0;
  for (size_t row = 0; row < rows; row += 8) {
    for (size_t column = 0; column < columns; column++, all++) {
      const size_t end = row + 8 < rows ? row + 8 : rows;
      size_t i = row;
      while (i < end && filter[i * columns + column] == 0.0f) {
        i++;
      }
      kept += i < end;
    }
  }
  return kept * 4 <= all * 3;
}

enum xnn_status xnn_create_convolution2d_nhwc_f32(
  uint32_t top, uint32_t right, uint32_t bottom, uint32_t left, uint32_t height, uint32_t width, uint32_t step_y,
  uint32_t step_x, uint32_t dilation_y, uint32_t dilation_x, uint32_t groups, size_t inputs, size_t outputs,
  size_t input_stride, size_t output_stride, const float* kernel, const float* bias, float low, float high,
  uint32_t flags, xnn_code_cache_t code_cache, xnn_weights_cache_t weights_cache, xnn_operator_t* op_out)
{
  xnn_operator_t* place = find(NULL);
  if (place != NULL && groups == 1 && has_zero_columns(kernel, outputs, (size_t) height * width * inputs)) {
    const enum xnn_status status = NEXT(xnn_create_convolution2d_nm_nhwc_f32)(
      top, right, bottom, left, height, width, step_y, step_x, dilation_y, dilation_x, groups, inputs, outputs,
      input_stride, output_stride, /*tile_height=*/0, kernel, bias, low, high, flags, code_cache, weights_cache, op_out);
    if (status == xnn_status_success) {
      *place = *op_out;
      fprintf(stderr, "XNNPACK: N:M, %ux%u, %zu to %zu channels\n", height, width, inputs, outputs);
      return status;
    }
  }
  return NEXT(xnn_create_convolution2d_nhwc_f32)(
    top, right, bottom, left, height, width, step_y, step_x, dilation_y, dilation_x, groups, inputs, outputs,
    input_stride, output_stride, kernel, bias, low, high, flags, code_cache, weights_cache, op_out);
}

enum xnn_status xnn_reshape_convolution2d_nhwc_f32(
  xnn_operator_t op, size_t batch, size_t height, size_t width, size_t* workspace_size, size_t* workspace_alignment,
  size_t* output_height, size_t* output_width, pthreadpool_t threadpool)
{
  return (find(op) != NULL ? NEXT(xnn_reshape_convolution2d_nm_nhwc_f32) : NEXT(xnn_reshape_convolution2d_nhwc_f32))(
    op, batch, height, width, workspace_size, workspace_alignment, output_height, output_width, threadpool);
}

enum xnn_status xnn_setup_convolution2d_nhwc_f32(xnn_operator_t op, void* workspace, const float* input, float* output)
{
  if (find(op) != NULL) {
    return NEXT(xnn_setup_convolution2d_nm_nhwc_f32)(op, workspace, input, /*residual=*/NULL, output);
  }
  return NEXT(xnn_setup_convolution2d_nhwc_f32)(op, workspace, input, output);
}

enum xnn_status xnn_delete_operator(xnn_operator_t op)
{
  xnn_operator_t* place = op == NULL ? NULL : find(op);
  if (place != NULL) {
    *place = NULL;
  }
  return NEXT(xnn_delete_operator)(op);
}
