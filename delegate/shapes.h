// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_SHAPES_H_
#define NMPACK_DELEGATE_SHAPES_H_

#include <unordered_set>
#include <utility>
#include <vector>

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// What can be said of a graph's tensors before its operators have been prepared, from the operators alone. An
// interpreter applies delegates before anyone can resize an input, so the shapes in a context may be placeholders.
class Shapes {
 public:
  // Looks at a graph while the interpreter waits for a delegate to choose.
  void Look(TfLiteContext* context);

  // Null, or why the node is not one to plan ahead: its shapes depend on values that exist only when the model runs, or
  // the interpreter may compute it once and for all.
  const char* Refuse(const TfLiteRegistration& registration, const TfLiteNode& node) const;

 private:
  void Visit(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node);

  std::unordered_set<int> constants_;       // tensors that the model holds
  std::unordered_set<int> known_values_;    // tensors that follow from constants and shapes
  std::unordered_set<int> unknown_shapes_;  // tensors whose shape depends on the values of others
};

// As long as it exists, dimensions of 0 of tensors that are computed are 1. TFLite's delegate would refuse them, although
// they say nothing of the shapes that the tensors will have.
class StandIns {
 public:
  explicit StandIns(TfLiteContext* context);
  ~StandIns();
  StandIns(const StandIns&) = delete;
  StandIns& operator=(const StandIns&) = delete;

 private:
  TfLiteContext* const context_;
  std::vector<std::pair<int, TfLiteIntArray*>> originals_;  // by tensor
};

// Whether a dimension of the tensor is a placeholder until an input is resized.
bool HasPlaceholders(const TfLiteTensor& tensor);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_SHAPES_H_
