// SPDX-License-Identifier: BSD-3-Clause
#include "originals.h"

#include <algorithm>
#include <unordered_set>

#include "large_conv.h"

namespace nmpack {
namespace {

// Tensors of a graph that were added for kernels are known by the address of their name, and used again: a graph may be
// delegated many times, and its tensors are never removed.
constexpr char kSpare[] = "nmpack spare";
constexpr char kScratch[] = "nmpack scratch";
// No kernel asks for more in one go; nor does one in all while it is prepared.
constexpr int kSpareTensors = 32;

bool HasDynamicOutput(const TfLiteContext& context, const TfLiteNode& node) {
  for (int i = 0; i < node.outputs->size; i++) {
    const int tensor = node.outputs->data[i];
    if (tensor >= 0 && context.tensors[tensor].allocation_type == kTfLiteDynamic) return true;
  }
  return false;
}

}  // namespace

TfLiteStatus Originals::Copy(TfLiteContext* context, const TfLiteIntArray& nodes) {
  nodes_.reserve(nodes.size);
  for (int i = 0; i < nodes.size; i++) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, nodes.data[i], &node, &registration) != kTfLiteOk) {
      return kTfLiteError;
    }
    // Lists of tensors and parameters belong to the interpreter's node, which stays; the rest is made anew.
    Original original{nodes.data[i], *node, *registration, false};
    original.node.user_data = nullptr;
    original.node.temporaries = nullptr;
    positions_[original.index] = nodes_.size();
    nodes_.push_back(original);
  }
  return kTfLiteOk;
}

TfLiteStatus Originals::PrepareNode(TfLiteContext* context, Original* original, bool for_xnnpack) {
  original->node.temporaries = TfLiteIntArrayCreate(0);
  if (for_xnnpack && IsLargeConv(*context, original->registration, original->node)) {
    original->node.user_data = nullptr;
    original->initialized = true;
    all_prepared_ = false;
    return ShapeLargeConv(context, original->node);
  }
  original->node.user_data =
      original->registration.init == nullptr
          ? nullptr
          : original->registration.init(context, static_cast<const char*>(original->node.builtin_data), 0);
  original->initialized = true;
  return original->registration.prepare == nullptr ? kTfLiteOk
                                                   : original->registration.prepare(context, &original->node);
}

TfLiteStatus Originals::Prepare(TfLiteContext* context, bool for_xnnpack) {
  // What kernels know to have computed once may lie elsewhere from now on: they begin anew. (Nodes of the interpreter
  // have places of their own in its plan. These share one, and what it allocates for one node has no order.)
  Free(context);
  all_prepared_ = true;
  DelegateContext delegate_context(context, this);
  for (Original& original : nodes_) {
    TfLiteStatus status = delegate_context.MakeScratch();
    if (status == kTfLiteOk) status = PrepareNode(context, &original, for_xnnpack);
    if (status != kTfLiteOk) {
      context->ReportError(context, "Node number %d failed to prepare.", original.index);
      return status;
    }
    // Shapes takes none of these.
    if (HasDynamicOutput(*context, original.node)) {
      context->ReportError(context, "nmpack: node number %d has a shape that is known only when it runs.",
                           original.index);
      return kTfLiteError;
    }
  }
  return kTfLiteOk;
}

TfLiteStatus Originals::Invoke(TfLiteContext* context) {
  for (size_t i = 0; i < nodes_.size(); i++) {
    const TfLiteStatus status = InvokeNode(context, i);
    if (status != kTfLiteOk) return status;
  }
  return kTfLiteOk;
}

TfLiteStatus Originals::InvokeNode(TfLiteContext* context, size_t position) {
  Original& original = nodes_[position];
  const TfLiteStatus status = original.registration.invoke(context, &original.node);
  if (status != kTfLiteOk) context->ReportError(context, "Node number %d failed to invoke.", original.index);
  return status;
}

void Originals::Free(TfLiteContext* context) {
  for (Original& original : nodes_) {
    if (!original.initialized) continue;
    if (original.registration.free != nullptr && original.node.user_data != nullptr) {
      original.registration.free(context, original.node.user_data);
    }
    TfLiteIntArrayFree(original.node.temporaries);
    original.initialized = false;
  }
  for (const int index : scratch_) {
    TfLiteTensor& tensor = context->tensors[index];
    if (tensor.allocation_type == kTfLiteDynamic) TfLiteTensorDataFree(&tensor);
    tensor.allocation_type = kTfLiteMemNone;
    tensor.type = kTfLiteNoType;
    tensor.data.raw = nullptr;
    tensor.bytes = 0;
    tensor.name = kSpare;
  }
  scratch_.clear();
}

std::vector<int> Originals::InnerTensors(const TfLiteContext& context, const TfLiteIntArray& outputs) const {
  const std::unordered_set<int> given(outputs.data, outputs.data + outputs.size);
  std::vector<int> result;
  const auto add = [&](int tensor) {
    if (tensor >= 0 && given.count(tensor) == 0 && context.tensors[tensor].allocation_type != kTfLiteMmapRo &&
        context.tensors[tensor].allocation_type != kTfLitePersistentRo) {
      result.push_back(tensor);
    }
  };
  for (const Original& original : nodes_) {
    std::for_each_n(original.node.outputs->data, original.node.outputs->size, add);
    if (original.node.temporaries != nullptr) {
      std::for_each_n(original.node.temporaries->data, original.node.temporaries->size, add);
    }
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

std::vector<int> Originals::Dimensions(const TfLiteContext& context) const {
  std::vector<int> result;
  for (const Original& original : nodes_) {
    for (const TfLiteIntArray* tensors : {original.node.inputs, original.node.outputs}) {
      for (int i = 0; i < tensors->size; i++) {
        if (tensors->data[i] < 0) continue;
        const TfLiteIntArray& dims = *context.tensors[tensors->data[i]].dims;
        result.push_back(dims.size);
        result.insert(result.end(), dims.data, dims.data + dims.size);
      }
    }
  }
  return result;
}

thread_local DelegateContext* DelegateContext::current_ = nullptr;

DelegateContext::DelegateContext(TfLiteContext* context, Originals* originals)
    : context_(context),
      originals_(originals),
      outer_(current_),
      plan_(TfLiteIntArrayCreate(static_cast<int>(originals->nodes().size()))),
      get_node_and_registration_(context->GetNodeAndRegistration),
      get_execution_plan_(context->GetExecutionPlan),
      add_tensors_(context->AddTensors) {
  for (int i = 0; i < plan_->size; i++) plan_->data[i] = originals->nodes()[i].index;
  for (size_t i = 0; i < context->tensors_size; i++) {
    if (context->tensors[i].name == kSpare) spares_.push_back(static_cast<int>(i));
  }
  context->GetNodeAndRegistration = GetNodeAndRegistration;
  context->GetExecutionPlan = GetExecutionPlan;
  context->AddTensors = AddTensors;
  current_ = this;
}

DelegateContext::~DelegateContext() {
  current_ = outer_;
  context_->GetNodeAndRegistration = get_node_and_registration_;
  context_->GetExecutionPlan = get_execution_plan_;
  context_->AddTensors = add_tensors_;
  TfLiteIntArrayFree(plan_);
}

size_t DelegateContext::LastRun() const {
  size_t count = std::min<size_t>(spares_.size(), 1);
  while (count != 0 && count < spares_.size() &&
         spares_[spares_.size() - count] - spares_[spares_.size() - count - 1] == 1) {
    count++;
  }
  return count;
}

TfLiteStatus DelegateContext::MakeScratch() {
  const int run = static_cast<int>(LastRun());
  if (run >= kSpareTensors) return kTfLiteOk;
  // Tensors are added at the end of all.
  const bool goes_on = run != 0 && static_cast<size_t>(spares_.back()) + 1 == context_->tensors_size;
  const int count = kSpareTensors - (goes_on ? run : 0);
  int first = 0;
  const TfLiteStatus status = add_tensors_(context_, count, &first);
  if (status != kTfLiteOk) return status;
  for (int i = first; i < first + count; i++) {
    context_->tensors[i].name = kSpare;
    spares_.push_back(i);
  }
  return kTfLiteOk;
}

TfLiteStatus DelegateContext::GetNodeAndRegistration(TfLiteContext*, int index, TfLiteNode** node,
                                                     TfLiteRegistration** registration) {
  const auto found = current_->originals_->positions_.find(index);
  if (found == current_->originals_->positions_.end()) return kTfLiteError;
  Originals::Original& original = current_->originals_->nodes_[found->second];
  *node = &original.node;
  *registration = &original.registration;
  return kTfLiteOk;
}

TfLiteStatus DelegateContext::GetExecutionPlan(TfLiteContext*, TfLiteIntArray** plan) {
  *plan = current_->plan_;
  return kTfLiteOk;
}

TfLiteStatus DelegateContext::AddTensors(TfLiteContext* context, int count, int* first) {
  std::vector<int>& spares = current_->spares_;
  const size_t run = current_->LastRun();
  if (count < 0 || static_cast<size_t>(count) > run) {
    context->ReportError(context, "nmpack: expected a kernel to need at most %d tensors, got %d more", kSpareTensors,
                         count);
    return kTfLiteError;
  }
  // Side by side, as the kernel wants them, and so that those that are left are, too.
  const auto begin = spares.end() - static_cast<ptrdiff_t>(run);
  *first = count == 0 ? 0 : *begin;
  for (int i = *first; i < *first + count; i++) {
    context->tensors[i].name = kScratch;
    current_->originals_->scratch_.push_back(i);
  }
  spares.erase(begin, begin + count);
  return kTfLiteOk;
}

}  // namespace nmpack
