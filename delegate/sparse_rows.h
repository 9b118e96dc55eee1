// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_SPARSE_ROWS_H_
#define NMPACK_DELEGATE_SPARSE_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "tensorflow/lite/core/c/common.h"

struct xnn_subgraph;

namespace nmpack {

// A filter [O, H, W, I], or [O, I], of f32 that a model stores as blocks of T output channels in compressed rows: for each block
// and each tap the input channels that hold a non-zero, and T values for each. Looks into the tensor, copies nothing.
class SparseRows {
 public:
  // Null where the tensor is stored in another way. Its encoding was checked (RefuseSparsity).
  static std::unique_ptr<SparseRows> Look(const TfLiteTensor& tensor);

  // Fills the H * W * I weights of an output channel.
  void Read(size_t channel, float* weights) const;

 private:
  size_t block_;
  size_t taps_;
  size_t input_channels_;
  const int* segments_;
  const int* indices_;
  const float* values_;
};

// The filters of a model that XNNPACK reads row by row, by the index of the tensor that they would be unpacked to.
class SparseFilters {
 public:
  // Whether the tensor can stay as it is: XNNPACK can read it in this way, and only layers want it.
  bool Keep(TfLiteContext* context, int sparse_tensor, int dense_tensor);

  // Defines a kept tensor in a subgraph of XNNPACK.
  TfLiteStatus Define(TfLiteContext* context, int dense_tensor, xnn_subgraph* subgraph, uint32_t* value_id) const;

 private:
  std::map<int, std::unique_ptr<SparseRows>> filters_;
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_SPARSE_ROWS_H_
