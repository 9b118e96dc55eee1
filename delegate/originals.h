// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_ORIGINALS_H_
#define NMPACK_DELEGATE_ORIGINALS_H_

#include <unordered_map>
#include <vector>

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// The nodes of a partition as the interpreter would run them, with states of their own for the interpreter's kernels.
//
// Preparing them gives every tensor of the partition its shape, by the interpreter's own rules and with its own checks,
// whatever has been resized since the delegate was applied. Invoking them is what is left when XNNPACK refuses.
class Originals {
 public:
  // Copies the nodes. To be called while the interpreter waits for a delegate to choose.
  TfLiteStatus Copy(TfLiteContext* context, const TfLiteIntArray& nodes);

  // Prepares each node in order. Fails where the interpreter alone would. If `for_xnnpack`, convolutions that the
  // interpreter's kernel has no room for only get their shape: then the nodes cannot be invoked, see `all_prepared`.
  TfLiteStatus Prepare(TfLiteContext* context, bool for_xnnpack);
  bool all_prepared() const { return all_prepared_; }

  TfLiteStatus Invoke(TfLiteContext* context);

  // Invokes one of the nodes, by its position among them.
  TfLiteStatus InvokeNode(TfLiteContext* context, size_t position);

  // Gives back what the kernels have taken. To be called before the graph goes.
  void Free(TfLiteContext* context);

  // Tensors that need memory while the nodes run and that nobody else sees: what they hand to each other, but for
  // `outputs`, and what they asked for themselves.
  std::vector<int> InnerTensors(const TfLiteContext& context, const TfLiteIntArray& outputs) const;

  // Dimensions of all tensors that nodes read or write, in one list.
  std::vector<int> Dimensions(const TfLiteContext& context) const;

  struct Original {
    int index;  // in the model's graph
    TfLiteNode node;
    TfLiteRegistration registration;
    bool initialized;
  };
  std::vector<Original>& nodes() { return nodes_; }
  const std::vector<Original>& nodes() const { return nodes_; }

 private:
  friend class DelegateContext;

  TfLiteStatus PrepareNode(TfLiteContext* context, Original* original, bool for_xnnpack);

  std::vector<Original> nodes_;
  std::unordered_map<int, size_t> positions_;  // in nodes_, by index
  std::vector<int> scratch_;  // tensors that kernels have asked for
  bool all_prepared_ = true;
};

// As long as one exists, a context of a kernel answers as it does to a delegate, from the nodes of a partition, and
// gives kernels that ask for tensors those that were made beforehand: kernels hold pointers to tensors while they ask.
class DelegateContext {
 public:
  DelegateContext(TfLiteContext* context, Originals* originals);
  ~DelegateContext();
  DelegateContext(const DelegateContext&) = delete;
  DelegateContext& operator=(const DelegateContext&) = delete;

  // Makes sure that a kernel that is prepared next gets the tensors it asks for. Moves all tensors.
  TfLiteStatus MakeScratch();

 private:
  static TfLiteStatus GetNodeAndRegistration(TfLiteContext* context, int index, TfLiteNode** node,
                                             TfLiteRegistration** registration);
  static TfLiteStatus GetExecutionPlan(TfLiteContext* context, TfLiteIntArray** plan);
  static TfLiteStatus AddTensors(TfLiteContext* context, int count, int* first);

  static thread_local DelegateContext* current_;

  TfLiteContext* const context_;
  Originals* const originals_;
  DelegateContext* const outer_;
  TfLiteIntArray* plan_;
  std::vector<int> spares_;  // tensors that nobody uses, in order
  size_t LastRun() const;    // how many of the last ones lie side by side
  decltype(TfLiteContext::GetNodeAndRegistration) get_node_and_registration_;
  decltype(TfLiteContext::GetExecutionPlan) get_execution_plan_;
  decltype(TfLiteContext::AddTensors) add_tensors_;
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_ORIGINALS_H_
