// SPDX-License-Identifier: BSD-3-Clause
#include "model_checks.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "operator_checks.h"
#include "shapes.h"
#include "tensorflow/lite/builtin_ops.h"
#include "tensorflow/lite/core/c/builtin_op_data.h"

namespace nmpack {
namespace {

// XNNPACK's XNN_MAX_TENSOR_DIMS; shapes of more dimensions overflow its arrays.
constexpr int kMaxDims = 6;

size_t ElementSize(TfLiteType type) {
  switch (type) {
    case kTfLiteInt8:
    case kTfLiteUInt8:
    case kTfLiteBool:
      return 1;
    case kTfLiteInt16:
    case kTfLiteFloat16:
      return 2;
    case kTfLiteFloat32:
    case kTfLiteInt32:
      return 4;
    case kTfLiteInt64:
      return 8;
    default:
      return 0;
  }
}

// The one input that a node may leave out (index -1) and the delegate looks at only if present.
bool MayBeAbsent(int32_t builtin_code, int input) {
  switch (builtin_code) {
    case kTfLiteBuiltinConv2d:
    case kTfLiteBuiltinDepthwiseConv2d:
    case kTfLiteBuiltinFullyConnected:
      return input == 2;
    case kTfLiteBuiltinTransposeConv:
      return input == 3;
    default:
      return false;
  }
}

// Operators for which a tensor without dimensions is a number to broadcast.
bool TakesScalars(int32_t builtin_code) {
  switch (builtin_code) {
    case kTfLiteBuiltinAdd:
    case kTfLiteBuiltinDiv:
    case kTfLiteBuiltinMaximum:
    case kTfLiteBuiltinMinimum:
    case kTfLiteBuiltinMul:
    case kTfLiteBuiltinSquaredDifference:
    case kTfLiteBuiltinSub:
      return true;
    default:
      return false;
  }
}

const char* RefuseTensor(const TfLiteTensor& tensor, ModelChecks::Shapes shapes) {
  // Nobody has looked at what a file or a resized input says of tensors that are computed.
  const bool is_sized = shapes == ModelChecks::Shapes::kPrepared || tensor.allocation_type == kTfLiteMmapRo;
  const size_t element_size = ElementSize(tensor.type);
  if (element_size == 0) return "a tensor's type is not one of numbers";
  if (tensor.dims == nullptr || tensor.dims->size < 0 || tensor.dims->size > kMaxDims) {
    return "a tensor's number of dimensions is not within 0 to 6";
  }
  int64_t elements = 1;
  for (int i = 0; i < tensor.dims->size; i++) {
    if (tensor.dims->data[i] <= 0 && is_sized) return "a tensor has an empty or negative dimension";
    if (tensor.dims->data[i] <= 0) break;
    elements *= tensor.dims->data[i];
    if (elements > std::numeric_limits<int32_t>::max()) return "a tensor has 2^31 elements or more";
  }
  if (tensor.allocation_type == kTfLiteMmapRo && tensor.sparsity == nullptr) {
    if (tensor.data.raw_const == nullptr || tensor.bytes < static_cast<size_t>(elements) * element_size) {
      return "a constant tensor has less data than its shape says";
    }
    if (reinterpret_cast<uintptr_t>(tensor.data.raw_const) % element_size != 0) {
      return "a constant tensor's data is not aligned";
    }
  }
  if (tensor.quantization.type == kTfLiteAffineQuantization) {
    const auto* params = static_cast<const TfLiteAffineQuantization*>(tensor.quantization.params);
    if (params == nullptr || params->scale == nullptr || params->zero_point == nullptr ||
        params->scale->size < 1 || params->zero_point->size != params->scale->size) {
      return "a tensor's quantization is incomplete";
    }
    const int channels_at = params->quantized_dimension;
    if (channels_at < 0 || channels_at >= std::max(tensor.dims->size, 1) ||
        (params->scale->size != 1 &&
         (tensor.dims->size == 0 || params->scale->size != tensor.dims->data[channels_at]))) {
      return "a tensor's quantization does not fit its shape";
    }
  } else if (tensor.quantization.type != kTfLiteNoQuantization) {
    return "a tensor's quantization is of an unknown kind";
  }
  return nullptr;
}

bool IsReadOnly(const TfLiteTensor& tensor) {
  return tensor.allocation_type == kTfLiteMmapRo || tensor.allocation_type == kTfLitePersistentRo;
}

// Null, or why an interpreter must not partition the graph: it then moves nodes to where their inputs are there, which
// goes wrong unless each tensor is written once and read only after that. It checks none of this.
const char* RefuseGraph(TfLiteContext* context, const TfLiteIntArray& plan) {
  std::unordered_set<int> read, written;
  for (int i = 0; i < plan.size; i++) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, plan.data[i], &node, &registration) != kTfLiteOk ||
        node->inputs == nullptr || node->outputs == nullptr) {
      return "a node of the graph cannot be read";
    }
    read.insert(node->inputs->data, node->inputs->data + node->inputs->size);
    for (int j = 0; j < node->outputs->size; j++) {
      const int output = node->outputs->data[j];
      if (output < 0 || static_cast<size_t>(output) >= context->tensors_size) return "a node's output is missing";
      if (read.count(output) != 0) return "a node reads what itself or a later one writes";
      if (!written.insert(output).second) return "several nodes write the same tensor";
    }
  }
  return nullptr;
}

}  // namespace

void ModelChecks::Begin(TfLiteContext* context) {
  TfLiteIntArray* plan = nullptr;
  why_nothing_ = context->GetExecutionPlan(context, &plan) != kTfLiteOk ? "the graph cannot be read"
                                                                        : RefuseGraph(context, *plan);
  if (why_nothing_ != nullptr) return;
  // What a partition of all nodes gives to the outside are the outputs of the graph; nothing else tells.
  TfLiteDelegateParams* partitions = nullptr;
  int count = 0;
  if (context->PreviewDelegatePartitioning(context, plan, &partitions, &count) != kTfLiteOk) return;
  for (int i = 0; i < count; i++) {
    const TfLiteIntArray& outputs = *partitions[i].output_tensors;
    outputs_.insert(outputs.data, outputs.data + outputs.size);
  }
  outputs_known_ = true;
}

const char* ModelChecks::Refuse(const TfLiteContext& context, const TfLiteRegistration& registration,
                                const TfLiteNode& node, Shapes shapes) const {
  if (why_nothing_ != nullptr) return why_nothing_;
  const int32_t code = registration.builtin_code;
  const auto exists = [&](int tensor) {
    return tensor >= 0 && static_cast<size_t>(tensor) < context.tensors_size;
  };
  // Nothing has checked the tensors of a custom operator, whose kernel is unknown here.
  if (code == kTfLiteBuiltinCustom || code == kTfLiteBuiltinDelegate) return "it is a custom operator";
  if (node.inputs == nullptr || node.outputs == nullptr || node.inputs->size < 1 || node.outputs->size < 1) {
    return "it has no inputs or no outputs";
  }
  // Constants that the delegate unpacks itself, once. No kernel writes their outputs.
  const bool unpacks = (code == kTfLiteBuiltinDequantize || code == kTfLiteBuiltinDensify) &&
                       exists(node.inputs->data[0]) && IsReadOnly(context.tensors[node.inputs->data[0]]);

  for (int i = 0; i < node.inputs->size; i++) {
    const int index = node.inputs->data[i];
    if (index == kTfLiteOptionalTensor && MayBeAbsent(code, i)) continue;
    if (!exists(index)) return "an input is missing";
    const TfLiteTensor& tensor = context.tensors[index];
    if (const char* why = RefuseTensor(tensor, shapes)) return why;
    if (tensor.sparsity != nullptr && code != kTfLiteBuiltinDensify) return "an input is sparse";
  }
  for (int i = 0; i < node.outputs->size; i++) {
    const int index = node.outputs->data[i];
    if (!exists(index)) return "an output is missing";
    const TfLiteTensor& tensor = context.tensors[index];
    if (const char* why = RefuseTensor(tensor, shapes)) return why;
    if (tensor.dims->size == 0) return "an output has no dimensions";
    if (tensor.sparsity != nullptr) return "an output is sparse";
    if (IsReadOnly(tensor) && !unpacks) return "an output is a constant";
    // What the delegate unpacks for itself it does not give to others.
    if (unpacks && (!outputs_known_ || outputs_.count(index) != 0)) return "it unpacks an output of the model";
  }
  if (!TakesScalars(code) && context.tensors[node.inputs->data[0]].dims->size == 0 &&
      code != kTfLiteBuiltinSplit) {
    return "its input has no dimensions";
  }
  bool shapes_known = true;
  if (shapes == Shapes::kStated) {
    for (const TfLiteIntArray* tensors : {node.inputs, node.outputs}) {
      for (int i = 0; i < tensors->size; i++) {
        const int index = tensors->data[i];
        shapes_known = shapes_known && (index < 0 || !HasPlaceholders(context.tensors[index]));
      }
    }
  }
  return RefuseOperator(context, code, node, shapes_known);
}

}  // namespace nmpack
