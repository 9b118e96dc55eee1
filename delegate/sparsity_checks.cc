// SPDX-License-Identifier: BSD-3-Clause
#include <cstdint>
#include <vector>

#include "operator_checks.h"

namespace nmpack {

// TFLite's sparse format: `traversal_order` names the dimensions from the outermost level inwards, the
// tensor's own first, then the blocks that `block_map` cuts out of some of them. A dense level repeats its
// size; a compressed one lists, for each position of the level above, a segment of indices.
const char* RefuseSparsity(const TfLiteTensor& tensor, const TfLiteIntArray& dense_dims) {
  const TfLiteSparsity& sparsity = *tensor.sparsity;
  const int rank = dense_dims.size;
  const int blocks = sparsity.block_map == nullptr ? 0 : sparsity.block_map->size;
  const int levels = rank + blocks;
  if (blocks > rank || sparsity.traversal_order == nullptr || sparsity.traversal_order->size != levels ||
      sparsity.dim_metadata == nullptr || sparsity.dim_metadata_size != levels) {
    return "its sparse levels do not fit its shape";
  }
  std::vector<int64_t> sizes(dense_dims.data, dense_dims.data + rank);  // of each level, before its order
  for (int b = 0; b < blocks; b++) {
    const int dim = sparsity.block_map->data[b];
    const TfLiteDimensionMetadata& block = sparsity.dim_metadata[rank + b];
    if (dim < 0 || dim >= rank || (b > 0 && dim <= sparsity.block_map->data[b - 1]) ||
        block.format != kTfLiteDimDense || block.dense_size < 1 || sizes[dim] % block.dense_size != 0) {
      return "its sparse blocks do not fit its shape";
    }
    sizes[dim] /= block.dense_size;
    sizes.push_back(block.dense_size);
  }
  std::vector<bool> seen(levels);
  int64_t positions = 1;  // in the level above
  for (int level = 0; level < levels; level++) {
    const int dim = sparsity.traversal_order->data[level];
    // Blocks come last and in order, as converters write them.
    if (dim < 0 || dim >= levels || seen[dim] || (level < rank ? dim >= rank : dim != level)) {
      return "its sparse traversal order is not a permutation of its levels";
    }
    seen[dim] = true;
    const TfLiteDimensionMetadata& metadata = sparsity.dim_metadata[level];
    if (metadata.format == kTfLiteDimDense) {
      if (metadata.dense_size != sizes[dim]) return "a dense level does not fit its shape";
      positions *= sizes[dim];
      continue;
    }
    const TfLiteIntArray* segments = metadata.array_segments;
    const TfLiteIntArray* indices = metadata.array_indices;
    if (metadata.format != kTfLiteDimSparseCSR || segments == nullptr || indices == nullptr ||
        segments->size != positions + 1 || segments->data[0] != 0 ||
        segments->data[segments->size - 1] != indices->size) {
      return "a sparse level's segments do not fit its indices";
    }
    for (int i = 1; i < segments->size; i++) {
      if (segments->data[i] < segments->data[i - 1]) return "a sparse level's segments are not in order";
    }
    for (int i = 0; i < indices->size; i++) {
      if (indices->data[i] < 0 || indices->data[i] >= sizes[dim]) return "a sparse index is out of range";
    }
    positions = indices->size;
  }
  const int64_t element = tensor.type == kTfLiteFloat32 ? 4 : tensor.type == kTfLiteFloat16 ? 2 : 1;
  if (tensor.data.raw_const == nullptr || tensor.bytes < static_cast<size_t>(positions * element) ||
      reinterpret_cast<uintptr_t>(tensor.data.raw_const) % element != 0) {
    return "it has less sparse data than its levels say";
  }
  return nullptr;
}

}  // namespace nmpack
