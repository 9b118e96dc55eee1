// SPDX-License-Identifier: BSD-3-Clause
#include "operator_checks.h"

#include <algorithm>
#include <bitset>

#include "tensorflow/lite/builtin_ops.h"
#include "tensorflow/lite/core/c/builtin_op_data.h"

namespace nmpack {
namespace {

// XNNPACK keeps a pointer for each output pixel and kernel element: 2^27 of them are 1 GiB.
constexpr int64_t kMaxIndirections = int64_t{1} << 27;
// Padding is materialised. What it may add to a tensor, in elements, beyond four times its size.
constexpr int64_t kMaxPaddedElements = int64_t{1} << 24;
constexpr int64_t kMaxExtent = int64_t{1} << 20;  // of a stride or a dilated kernel
// The right operand of a product is packed in tiles of so many columns at most.
constexpr int64_t kMaxTileColumns = 64;

class Node {
 public:
  Node(const TfLiteContext& context, const TfLiteNode& node, bool shapes_known)
      : context_(context), node_(node), shapes_known_(shapes_known) {}

  int inputs() const { return node_.inputs->size; }
  // If not, dimensions of tensors that are not constants may be placeholders.
  bool shapes_known() const { return shapes_known_; }
  bool has_input(int i) const { return i < inputs() && node_.inputs->data[i] >= 0; }
  const TfLiteTensor& input(int i) const { return context_.tensors[node_.inputs->data[i]]; }
  const TfLiteTensor& output(int i) const { return context_.tensors[node_.outputs->data[i]]; }
  template <typename T>
  const T& params() const {
    return *static_cast<const T*>(node_.builtin_data);
  }

 private:
  const TfLiteContext& context_;
  const TfLiteNode& node_;
  const bool shapes_known_;
};

int Rank(const TfLiteTensor& tensor) { return tensor.dims->size; }
int64_t Dim(const TfLiteTensor& tensor, int i) { return tensor.dims->data[i]; }
int64_t LastDim(const TfLiteTensor& tensor) { return Dim(tensor, Rank(tensor) - 1); }

int64_t Elements(const TfLiteTensor& tensor) {
  int64_t result = 1;
  for (int i = 0; i < Rank(tensor); i++) result *= Dim(tensor, i);
  return result;
}

// The data of a constant vector of `count` int32, or null.
const int32_t* Integers(const TfLiteTensor& tensor, int64_t count) {
  const bool usable = tensor.type == kTfLiteInt32 && tensor.allocation_type == kTfLiteMmapRo &&
                      Elements(tensor) == count;
  return usable ? tensor.data.i32 : nullptr;
}

const char* RefuseWindow(const TfLiteTensor& input, const TfLiteTensor& output, bool shapes_known,
                         int64_t kernel_height, int64_t kernel_width, int64_t stride_height, int64_t stride_width,
                         int64_t dilation_height, int64_t dilation_width) {
  if (Rank(input) != 4 || Rank(output) != 4) return "an input or output is not four-dimensional";
  if (std::min({kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width}) < 1) {
    return "a kernel size, stride or dilation is not positive";
  }
  const int64_t height = (kernel_height - 1) * dilation_height + 1;
  const int64_t width = (kernel_width - 1) * dilation_width + 1;
  if (std::max({height, width, stride_height, stride_width, dilation_height, dilation_width}) > kMaxExtent) {
    return "a stride or dilated kernel is larger than 2^20";
  }
  if (!shapes_known) return nullptr;
  if (kernel_height * kernel_width > kMaxIndirections / (Dim(output, 1) * Dim(output, 2))) {
    return "it needs more than 2^27 kernel elements for an image";
  }
  const int64_t image = (Dim(input, 1) + height) * (Dim(input, 2) + width);
  if (image > (4 * Elements(input) + kMaxPaddedElements) / (Dim(input, 0) * Dim(input, 3))) {
    return "its dilated kernel is too large for its input";
  }
  return nullptr;
}

const char* RefuseBias(const Node& node, int index, int64_t channels) {
  if (node.has_input(index) && Elements(node.input(index)) != channels) {
    return "its bias does not fit its output channels";
  }
  return nullptr;
}

const char* RefuseConvolution(const Node& node, bool depthwise) {
  const TfLiteTensor& input = node.input(0);
  const TfLiteTensor& filter = node.input(1);
  if (Rank(filter) != 4) return "its filter is not four-dimensional";
  int stride_height, stride_width, dilation_height, dilation_width;
  if (depthwise) {
    const auto& p = node.params<TfLiteDepthwiseConvParams>();
    stride_height = p.stride_height, stride_width = p.stride_width;
    dilation_height = p.dilation_height_factor, dilation_width = p.dilation_width_factor;
    if (node.shapes_known() && Rank(input) == 4 && (Dim(filter, 0) != 1 || p.depth_multiplier < 1 ||
                             Dim(input, 3) * p.depth_multiplier != Dim(filter, 3))) {
      return "its filter does not fit its input channels";
    }
  } else {
    const auto& p = node.params<TfLiteConvParams>();
    stride_height = p.stride_height, stride_width = p.stride_width;
    dilation_height = p.dilation_height_factor, dilation_width = p.dilation_width_factor;
    if (node.shapes_known() && Rank(input) == 4 && (Dim(input, 3) % Dim(filter, 3) != 0 ||
                             Dim(filter, 0) % (Dim(input, 3) / Dim(filter, 3)) != 0)) {
      return "its filter does not fit its input channels";
    }
  }
  const char* why = RefuseWindow(input, node.output(0), node.shapes_known(), Dim(filter, 1), Dim(filter, 2),
                                 stride_height, stride_width, dilation_height, dilation_width);
  return why != nullptr ? why : RefuseBias(node, 2, depthwise ? Dim(filter, 3) : Dim(filter, 0));
}

const char* RefuseTransposeConvolution(const Node& node) {
  const auto& p = node.params<TfLiteTransposeConvParams>();
  if (node.inputs() < 3) return "it has less than three inputs";
  const TfLiteTensor& filter = node.input(1);
  const TfLiteTensor& output = node.output(0);
  const int32_t* shape = Integers(node.input(0), 4);
  if (shape == nullptr || Rank(output) != 4 ||
      (node.shapes_known() && !std::equal(shape, shape + 4, output.dims->data))) {
    return "its output shape is not constant or not that of its output";
  }
  if (Rank(filter) != 4) return "its filter is not four-dimensional";
  const char* why = RefuseWindow(node.input(2), output, node.shapes_known(), Dim(filter, 1), Dim(filter, 2),
                                 p.stride_height, p.stride_width, 1, 1);
  return why != nullptr ? why : RefuseBias(node, 3, Dim(filter, 0));
}

const char* RefuseFullyConnected(const Node& node) {
  if (node.inputs() < 2 || Rank(node.input(1)) != 2) return "its filter is not a matrix";
  const int64_t channels = Dim(node.input(1), 1);
  const bool fits = !node.shapes_known() ? true
                    : node.params<TfLiteFullyConnectedParams>().keep_num_dims
                        ? LastDim(node.input(0)) == channels
                        : Elements(node.input(0)) % channels == 0;
  return fits ? RefuseBias(node, 2, Dim(node.input(1), 0)) : "its filter does not fit its input";
}

const char* RefuseBatchMatMul(const Node& node) {
  if (node.inputs() != 2) return "it has not two inputs";
  const TfLiteTensor &a = node.input(0), &b = node.input(1), &output = node.output(0);
  const int rank = std::max(Rank(a), Rank(b));
  if (std::min(Rank(a), Rank(b)) < 2 || Rank(output) != rank) return "an operand or its output is not of matrices";
  if (!node.shapes_known()) return nullptr;
  const auto& p = node.params<TfLiteBatchMatMulParams>();
  const auto from_end = [](const TfLiteTensor& tensor, int i) {
    return i > Rank(tensor) ? 1 : Dim(tensor, Rank(tensor) - i);
  };
  const int64_t columns = from_end(b, p.adj_y ? 2 : 1);
  if (from_end(a, p.adj_x ? 2 : 1) != from_end(b, p.adj_y ? 1 : 2)) return "its operands do not fit each other";
  if (from_end(output, 1) != columns || from_end(output, 2) != from_end(a, p.adj_x ? 1 : 2)) {
    return "its output does not fit its operands";
  }
  for (int i = 3; i <= rank; i++) {
    const int64_t most = std::max(from_end(a, i), from_end(b, i));
    if (from_end(output, i) != most || (from_end(a, i) != most && from_end(a, i) != 1) ||
        (from_end(b, i) != most && from_end(b, i) != 1)) {
      return "the batches of its operands do not fit each other";
    }
  }
  return (columns + kMaxTileColumns) * (Elements(b) / columns) > 4 * Elements(b) + kMaxPaddedElements
             ? "its right operand is too narrow for its size"
             : nullptr;
}

const char* RefusePad(const Node& node) {
  if (node.inputs() < 2) return "it has less than two inputs";
  const TfLiteTensor& input = node.input(0);
  const TfLiteTensor& output = node.output(0);
  const int32_t* paddings = Integers(node.input(1), 2 * Rank(input));
  if (paddings == nullptr || Rank(output) != Rank(input)) return "its padding is not constant or of another rank";
  for (int i = 0; i < Rank(input); i++) {
    const int64_t before = paddings[2 * i], after = paddings[2 * i + 1];
    if (before < 0 || after < 0 ||
        (node.shapes_known() && before + Dim(input, i) + after != Dim(output, i))) {
      return "its padding does not lead from its input to its output";
    }
  }
  return nullptr;
}

const char* RefuseTranspose(const Node& node) {
  if (node.inputs() < 2) return "it has less than two inputs";
  const int rank = Rank(node.input(0));
  const int32_t* order = Integers(node.input(1), rank);
  const TfLiteType type = node.input(0).type;
  if (type != kTfLiteFloat32 && type != kTfLiteInt8 && type != kTfLiteUInt8) return "its type is not supported";
  std::bitset<8> seen;
  for (int i = 0; order != nullptr && i < rank; i++) {
    if (order[i] < 0 || order[i] >= rank || seen[order[i]]) return "its order is not a permutation";
    seen.set(order[i]);
  }
  return order == nullptr ? "its order is not constant or of another rank" : nullptr;
}

const char* RefuseResize(const Node& node) {
  const int32_t* size = node.inputs() == 2 ? Integers(node.input(1), 2) : nullptr;
  const TfLiteTensor& output = node.output(0);
  if (size == nullptr || Rank(node.input(0)) != 4 || Rank(output) != 4 ||
      (node.shapes_known() && (size[0] != Dim(output, 1) || size[1] != Dim(output, 2)))) {
    return "its size is not constant or not that of its output";
  }
  return Dim(output, 1) * Dim(output, 2) > kMaxIndirections / 4 ? "its output is too large" : nullptr;
}

const char* RefuseUnpacking(const Node& node, bool densify) {
  const TfLiteTensor& input = node.input(0);
  if (!std::equal(input.dims->data, input.dims->data + Rank(input), node.output(0).dims->data,
                  node.output(0).dims->data + Rank(node.output(0)))) {
    return "its output has another shape than its input";
  }
  if (densify) {
    if (node.output(0).type != input.type) return "its output has another type than its input";
    return input.sparsity == nullptr ? "its input is not sparse"
                                     : RefuseSparsity(input, *node.output(0).dims);
  }
  const bool int8 = input.type == kTfLiteInt8 || input.type == kTfLiteUInt8;
  return int8 && input.quantization.type != kTfLiteAffineQuantization ? "its input is not quantized" : nullptr;
}

bool NeedsParams(int32_t code) {
  switch (code) {
    case kTfLiteBuiltinAveragePool2d:
    case kTfLiteBuiltinBatchMatmul:
    case kTfLiteBuiltinConcatenation:
    case kTfLiteBuiltinConv2d:
    case kTfLiteBuiltinDepthToSpace:
    case kTfLiteBuiltinDepthwiseConv2d:
    case kTfLiteBuiltinFullyConnected:
    case kTfLiteBuiltinGelu:
    case kTfLiteBuiltinLeakyRelu:
    case kTfLiteBuiltinMaxPool2d:
    case kTfLiteBuiltinMean:
    case kTfLiteBuiltinResizeBilinear:
    case kTfLiteBuiltinSoftmax:
    case kTfLiteBuiltinSpaceToDepth:
    case kTfLiteBuiltinSplit:
    case kTfLiteBuiltinStridedSlice:
    case kTfLiteBuiltinSum:
    case kTfLiteBuiltinTransposeConv:
      return true;
    default:
      return false;
  }
}

}  // namespace

const char* RefuseOperator(const TfLiteContext& context, int32_t builtin_code, const TfLiteNode& raw_node,
                           bool shapes_known) {
  const Node node(context, raw_node, shapes_known);
  if (NeedsParams(builtin_code) && raw_node.builtin_data == nullptr) return "its parameters are missing";
  switch (builtin_code) {
    case kTfLiteBuiltinAveragePool2d:
    case kTfLiteBuiltinMaxPool2d: {
      const auto& p = node.params<TfLitePoolParams>();
      return RefuseWindow(node.input(0), node.output(0), shapes_known, p.filter_height, p.filter_width,
                          p.stride_height, p.stride_width, 1, 1);
    }
    case kTfLiteBuiltinBatchMatmul:
      return RefuseBatchMatMul(node);
    case kTfLiteBuiltinConcatenation: {
      const int axis = node.params<TfLiteConcatenationParams>().axis, rank = Rank(node.output(0));
      return axis < -rank || axis >= rank ? "its axis is not one of its output's" : nullptr;
    }
    case kTfLiteBuiltinConv2d:
    case kTfLiteBuiltinDepthwiseConv2d:
      return node.inputs() < 2 ? "it has no filter"
                               : RefuseConvolution(node, builtin_code == kTfLiteBuiltinDepthwiseConv2d);
    case kTfLiteBuiltinDensify:
    case kTfLiteBuiltinDequantize:
      return RefuseUnpacking(node, builtin_code == kTfLiteBuiltinDensify);
    case kTfLiteBuiltinDepthToSpace:
    case kTfLiteBuiltinSpaceToDepth:
      return Rank(node.input(0)) != 4 || Rank(node.output(0)) != 4 ? "an input or output is not four-dimensional"
                                                                   : nullptr;
    case kTfLiteBuiltinFullyConnected:
      return RefuseFullyConnected(node);
    case kTfLiteBuiltinPad:
    case kTfLiteBuiltinPadv2:
      return RefusePad(node);
    case kTfLiteBuiltinPrelu:
      return node.inputs() != 2 || Rank(node.input(1)) == 0 ||
                     (shapes_known && LastDim(node.input(1)) != LastDim(node.input(0)))
                 ? "its slope does not fit its channels"
                 : nullptr;
    case kTfLiteBuiltinResizeBilinear:
      return RefuseResize(node);
    case kTfLiteBuiltinSlice:
      return node.inputs() != 3 ? "it has not three inputs" : nullptr;
    case kTfLiteBuiltinSplit:
      return node.inputs() != 2 || Rank(node.input(1)) == 0 ? "its input has no dimensions" : nullptr;
    case kTfLiteBuiltinStridedSlice:
      return node.inputs() != 4 ? "it has not four inputs" : nullptr;
    case kTfLiteBuiltinTranspose:
      return RefuseTranspose(node);
    case kTfLiteBuiltinTransposeConv:
      return RefuseTransposeConvolution(node);
    default:
      return nullptr;
  }
}

}  // namespace nmpack
