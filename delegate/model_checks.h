// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_MODEL_CHECKS_H_
#define NMPACK_DELEGATE_MODEL_CHECKS_H_

#include <unordered_set>

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// A model is untrusted input. Neither TFLite's delegate nor XNNPACK checks all that they rely on, so
// every node passes here first; one that is not beyond doubt is left to the interpreter.
class ModelChecks {
 public:
  // Whether the interpreter's kernels have prepared the node, or shapes are those that the file states: possibly
  // placeholders, which decide nothing.
  enum class Shapes { kStated, kPrepared };

  // To be called before the nodes of a graph are shown, while the interpreter waits for a delegate to choose.
  void Begin(TfLiteContext* context);

  // Null, or why the node must not be delegated.
  const char* Refuse(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node,
                     Shapes shapes) const;

 private:
  const char* why_nothing_ = nullptr;  // or why no node of the graph must be
  std::unordered_set<int> outputs_;    // of the graph
  bool outputs_known_ = false;
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_MODEL_CHECKS_H_
