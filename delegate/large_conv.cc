// SPDX-License-Identifier: BSD-3-Clause
#include "large_conv.h"

#include <cstdint>
#include <limits>

#include "tensorflow/lite/builtin_ops.h"
#include "tensorflow/lite/core/c/builtin_op_data.h"

namespace nmpack {
namespace {

// Sizes of the output along one axis, 0 where nothing fits.
int64_t Outputs(TfLitePadding padding, int64_t input, int64_t kernel, int64_t stride, int64_t dilation) {
  if (padding == kTfLitePaddingSame) return (input + stride - 1) / stride;
  const int64_t reach = (kernel - 1) * dilation + 1;
  return padding == kTfLitePaddingValid && input >= reach ? (input - reach) / stride + 1 : 0;
}

struct Sizes {
  int64_t height, width;
};

Sizes OutputOf(const TfLiteContext& context, const TfLiteNode& node) {
  const auto& params = *static_cast<const TfLiteConvParams*>(node.builtin_data);
  const TfLiteIntArray& image = *context.tensors[node.inputs->data[0]].dims;
  const TfLiteIntArray& filter = *context.tensors[node.inputs->data[1]].dims;
  return {Outputs(params.padding, image.data[1], filter.data[1], params.stride_height, params.dilation_height_factor),
          Outputs(params.padding, image.data[2], filter.data[2], params.stride_width, params.dilation_width_factor)};
}

}  // namespace

bool IsLargeConv(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node) {
  if (registration.builtin_code != kTfLiteBuiltinConv2d) return false;
  if (node.inputs->size < 2 || node.outputs->size != 1) return false;
  const auto* params = static_cast<const TfLiteConvParams*>(node.builtin_data);
  if (params == nullptr || params->stride_height < 1 || params->stride_width < 1 ||
      params->dilation_height_factor < 1 || params->dilation_width_factor < 1) {
    return false;
  }
  for (int i = 0; i < 2; i++) {
    const int tensor = node.inputs->data[i];
    if (tensor < 0) return false;
    const TfLiteIntArray* dims = context.tensors[tensor].dims;
    if (dims == nullptr || dims->size != 4) return false;
    for (int axis = 0; axis < 4; axis++) {
      if (dims->data[axis] < 1) return false;
    }
  }
  const TfLiteIntArray& filter = *context.tensors[node.inputs->data[1]].dims;
  const Sizes output = OutputOf(context, node);
  // Step by step: no product of two numbers below 2^31 overflows.
  int64_t elements = context.tensors[node.inputs->data[0]].dims->data[0];
  const int64_t factors[] = {output.height, output.width, filter.data[1], filter.data[2], filter.data[3]};
  for (const int64_t factor : factors) {
    if (factor < 1) return false;
  }
  for (const int64_t factor : factors) {
    elements *= factor;
    if (elements > std::numeric_limits<int32_t>::max()) return true;
  }
  return false;
}

TfLiteStatus ShapeLargeConv(TfLiteContext* context, const TfLiteNode& node) {
  const Sizes output = OutputOf(*context, node);
  TfLiteIntArray* shape = TfLiteIntArrayCreate(4);
  shape->data[0] = context->tensors[node.inputs->data[0]].dims->data[0];
  shape->data[1] = static_cast<int>(output.height);
  shape->data[2] = static_cast<int>(output.width);
  shape->data[3] = context->tensors[node.inputs->data[1]].dims->data[0];
  return context->ResizeTensor(context, &context->tensors[node.outputs->data[0]], shape);
}

}  // namespace nmpack
