// SPDX-License-Identifier: BSD-3-Clause
#include "sparse_rows.h"

#include <algorithm>
#include <vector>

#include "tensorflow/lite/builtin_ops.h"
#include "xnnpack.h"
#if NMPACK_XNNPACK_HAS_NM
#include "xnnpack-nm.h"
#endif

namespace nmpack {

std::unique_ptr<SparseRows> SparseRows::Look(const TfLiteTensor& tensor) {
  const int rank = tensor.dims->size;
  if (tensor.type != kTfLiteFloat32 || (rank != 4 && rank != 2) || tensor.sparsity == nullptr) return nullptr;
  const TfLiteSparsity& sparsity = *tensor.sparsity;
  const int blocks = sparsity.block_map == nullptr ? 0 : sparsity.block_map->size;
  if (blocks > 1 || (blocks == 1 && sparsity.block_map->data[0] != 0)) return nullptr;
  for (int level = 0; level < rank; level++) {
    const TfLiteDimensionType format = level + 1 < rank ? kTfLiteDimDense : kTfLiteDimSparseCSR;
    if (sparsity.traversal_order->data[level] != level || sparsity.dim_metadata[level].format != format) {
      return nullptr;
    }
  }
  auto rows = std::make_unique<SparseRows>();
  rows->block_ = blocks == 0 ? 1 : sparsity.dim_metadata[rank].dense_size;
  rows->taps_ = rank == 2 ? 1 : static_cast<size_t>(tensor.dims->data[1]) * tensor.dims->data[2];
  rows->input_channels_ = tensor.dims->data[rank - 1];
  rows->segments_ = sparsity.dim_metadata[rank - 1].array_segments->data;
  rows->indices_ = sparsity.dim_metadata[rank - 1].array_indices->data;
  rows->values_ = tensor.data.f;
  return rows;
}

void SparseRows::Read(size_t channel, float* weights) const {
  std::fill_n(weights, taps_ * input_channels_, 0.0f);
  const int* segment = segments_ + channel / block_ * taps_;
  const float* values = values_ + channel % block_;
  for (size_t tap = 0; tap < taps_; tap++, segment++, weights += input_channels_) {
    for (int i = segment[0]; i < segment[1]; i++) {
      weights[indices_[i]] = values[i * block_];
    }
  }
}

#if NMPACK_XNNPACK_HAS_NM
namespace {

// Whether the tensor is a filter of convolutions and fully connected layers, and nothing else to any node.
bool IsOnlyAFilter(TfLiteContext* context, int tensor) {
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return false;
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != kTfLiteOk) return false;
    for (int j = 0; j < node->inputs->size; j++) {
      const bool reads_filter = registration->builtin_code == kTfLiteBuiltinConv2d ||
                                registration->builtin_code == kTfLiteBuiltinFullyConnected;
      if (node->inputs->data[j] == tensor && !(reads_filter && j == 1)) return false;
    }
  }
  return true;
}

}  // namespace

bool SparseFilters::Keep(TfLiteContext* context, int sparse_tensor, int dense_tensor) {
  std::unique_ptr<SparseRows> rows = SparseRows::Look(context->tensors[sparse_tensor]);
  if (rows == nullptr || !IsOnlyAFilter(context, dense_tensor)) return false;
  filters_[dense_tensor] = std::move(rows);
  return true;
}

TfLiteStatus SparseFilters::Define(TfLiteContext* context, int dense_tensor, xnn_subgraph* subgraph,
                                   uint32_t* value_id) const {
  const TfLiteIntArray& shape = *context->tensors[dense_tensor].dims;
  const std::vector<size_t> dims(shape.data, shape.data + shape.size);
  const auto read = [](const void* rows, size_t row, void* weights) {
    static_cast<const SparseRows*>(rows)->Read(row, static_cast<float*>(weights));
  };
  return xnn_define_row_tensor_value(subgraph, xnn_datatype_fp32, dims.size(), dims.data(), read,
                                     filters_.at(dense_tensor).get(), XNN_INVALID_VALUE_ID, value_id) == xnn_status_success
             ? kTfLiteOk
             : kTfLiteError;
}
#else
bool SparseFilters::Keep(TfLiteContext*, int, int) { return false; }

TfLiteStatus SparseFilters::Define(TfLiteContext*, int, xnn_subgraph*, uint32_t*) const { return kTfLiteError; }
#endif

}  // namespace nmpack
