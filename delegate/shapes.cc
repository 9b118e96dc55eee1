// SPDX-License-Identifier: BSD-3-Clause
#include "shapes.h"

#include <algorithm>
#include <cstdint>

#include "tensorflow/lite/builtin_ops.h"

namespace nmpack {
namespace {

// A bit for each input whose values, not only its shape, decide the shape of an output.
uint32_t ShapeInputs(int32_t builtin_code) {
  switch (builtin_code) {
    case kTfLiteBuiltinFill:
    case kTfLiteBuiltinSplit:
    case kTfLiteBuiltinTransposeConv:
      return 1u << 0;
    case kTfLiteBuiltinBroadcastTo:
    case kTfLiteBuiltinExpandDims:
    case kTfLiteBuiltinMean:
    case kTfLiteBuiltinMirrorPad:
    case kTfLiteBuiltinOneHot:
    case kTfLiteBuiltinPad:
    case kTfLiteBuiltinPadv2:
    case kTfLiteBuiltinReduceAll:
    case kTfLiteBuiltinReduceAny:
    case kTfLiteBuiltinReduceMax:
    case kTfLiteBuiltinReduceMin:
    case kTfLiteBuiltinReduceProd:
    case kTfLiteBuiltinReshape:
    case kTfLiteBuiltinResizeBilinear:
    case kTfLiteBuiltinResizeNearestNeighbor:
    case kTfLiteBuiltinSparseToDense:
    case kTfLiteBuiltinSum:
    case kTfLiteBuiltinTile:
    case kTfLiteBuiltinTopkV2:
    case kTfLiteBuiltinTranspose:
      return 1u << 1;
    case kTfLiteBuiltinArgMax:
    case kTfLiteBuiltinArgMin:
      return 1u << 1;
    case kTfLiteBuiltinBatchToSpaceNd:
    case kTfLiteBuiltinSlice:
    case kTfLiteBuiltinSpaceToBatchNd:
    case kTfLiteBuiltinSplitV:
      return 1u << 1 | 1u << 2;
    case kTfLiteBuiltinStridedSlice:
      return 1u << 1 | 1u << 2 | 1u << 3;
    case kTfLiteBuiltinScatterNd:
      return 1u << 2;
    case kTfLiteBuiltinRange:
      return 1u << 0 | 1u << 1 | 1u << 2;
    case kTfLiteBuiltinMultinomial:
      return 1u << 1;
    case kTfLiteBuiltinRandomStandardNormal:
    case kTfLiteBuiltinRandomUniform:
      return 1u << 0;
    default:
      return 0;
  }
}

// Operators whose output has as many elements as their input happens to hold.
bool ShapeFollowsData(int32_t builtin_code) {
  switch (builtin_code) {
    case kTfLiteBuiltinNonMaxSuppressionV4:
    case kTfLiteBuiltinNonMaxSuppressionV5:
    case kTfLiteBuiltinUnique:
    case kTfLiteBuiltinWhere:
      return true;
    default:
      return false;
  }
}

// These unpack constants for others; what they give is not a constant to an interpreter.
bool Unpacks(int32_t builtin_code) {
  return builtin_code == kTfLiteBuiltinDequantize || builtin_code == kTfLiteBuiltinDensify;
}

// Whether a tensor states that one of its dimensions changes.
bool HasUnknownDimension(const TfLiteContext& context, int tensor) {
  if (tensor < 0 || static_cast<size_t>(tensor) >= context.tensors_size) return false;
  const TfLiteIntArray* signature = context.tensors[tensor].dims_signature;
  return signature != nullptr && std::count(signature->data, signature->data + signature->size, -1) != 0;
}

// Interpreters give a slice its shape when it runs where its input and its output have such dimensions.
bool IsSliceOfUnknownShape(const TfLiteContext& context, int32_t builtin_code, const TfLiteNode& node) {
  return builtin_code == kTfLiteBuiltinSlice && node.inputs->size > 0 && node.outputs->size > 0 &&
         HasUnknownDimension(context, node.inputs->data[0]) && HasUnknownDimension(context, node.outputs->data[0]);
}

}  // namespace

void Shapes::Look(TfLiteContext* context) {
  constants_.clear();
  known_values_.clear();
  unknown_shapes_.clear();
  for (size_t i = 0; i < context->tensors_size; i++) {
    const TfLiteTensor& tensor = context->tensors[i];
    if (tensor.allocation_type == kTfLiteMmapRo || tensor.allocation_type == kTfLitePersistentRo) {
      known_values_.insert(static_cast<int>(i));
      if (tensor.allocation_type == kTfLiteMmapRo) constants_.insert(static_cast<int>(i));
    } else if (tensor.allocation_type == kTfLiteDynamic) {
      unknown_shapes_.insert(static_cast<int>(i));
    }
  }
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return;
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != kTfLiteOk) return;
    Visit(*context, *registration, *node);
  }
}

void Shapes::Visit(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node) {
  const int32_t code = registration.builtin_code;
  const bool of_shape = code == kTfLiteBuiltinShape || code == kTfLiteBuiltinRank;
  bool shape_known = !ShapeFollowsData(code) && !IsSliceOfUnknownShape(context, code, node);
  bool values_known = node.inputs->size > 0;
  for (int i = 0; i < node.inputs->size; i++) {
    const int tensor = node.inputs->data[i];
    if (tensor < 0 || static_cast<size_t>(tensor) >= context.tensors_size) continue;
    const bool known = known_values_.count(tensor) != 0;
    values_known = values_known && (known || of_shape) && unknown_shapes_.count(tensor) == 0;
    if (i < 32 && (ShapeInputs(code) >> i & 1) != 0 && !known) shape_known = false;
    // The shape of a shape is its rank.
    if (unknown_shapes_.count(tensor) != 0 && !of_shape) shape_known = false;
  }
  for (int i = 0; i < node.outputs->size; i++) {
    if (!shape_known) unknown_shapes_.insert(node.outputs->data[i]);
    if (shape_known && values_known && !Unpacks(code)) known_values_.insert(node.outputs->data[i]);
  }
}

const char* Shapes::Refuse(const TfLiteRegistration& registration, const TfLiteNode& node) const {
  for (const TfLiteIntArray* tensors : {node.inputs, node.outputs}) {
    for (int i = 0; i < tensors->size; i++) {
      if (unknown_shapes_.count(tensors->data[i]) != 0) {
        return "the shape of one of its tensors is known only when the model runs";
      }
    }
  }
  for (int i = 0; i < node.inputs->size && i < 32; i++) {
    if ((ShapeInputs(registration.builtin_code) >> i & 1) != 0 && constants_.count(node.inputs->data[i]) == 0) {
      return "its shape is computed";
    }
  }
  if (Unpacks(registration.builtin_code)) return nullptr;
  for (int i = 0; i < node.outputs->size; i++) {
    if (known_values_.count(node.outputs->data[i]) != 0) return "its output follows from constants and shapes";
  }
  return nullptr;
}

StandIns::StandIns(TfLiteContext* context) : context_(context) {
  for (size_t i = 0; i < context->tensors_size; i++) {
    TfLiteTensor& tensor = context->tensors[i];
    if (tensor.allocation_type == kTfLiteMmapRo || tensor.dims == nullptr) continue;
    const TfLiteIntArray& dims = *tensor.dims;
    if (std::all_of(dims.data, dims.data + dims.size, [](int size) { return size > 0; })) continue;
    originals_.emplace_back(static_cast<int>(i), tensor.dims);
    tensor.dims = TfLiteIntArrayCopy(&dims);
    std::replace_if(tensor.dims->data, tensor.dims->data + dims.size, [](int size) { return size <= 0; }, 1);
  }
}

StandIns::~StandIns() {
  for (const auto& [index, dims] : originals_) {
    TfLiteIntArrayFree(context_->tensors[index].dims);
    context_->tensors[index].dims = dims;
  }
}

bool HasPlaceholders(const TfLiteTensor& tensor) {
  for (int i = 0; tensor.allocation_type != kTfLiteMmapRo && i < tensor.dims->size; i++) {
    if (tensor.dims->data[i] <= 0) return true;
  }
  const TfLiteIntArray* signature = tensor.dims_signature;
  for (int i = 0; signature != nullptr && i < signature->size; i++) {
    if (signature->data[i] < 0) return true;
  }
  return false;
}

}  // namespace nmpack
