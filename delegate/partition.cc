// SPDX-License-Identifier: BSD-3-Clause
#include "partition.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "layers.h"
#include "plugin.h"
#include "xnnpack.h"

namespace nmpack {
namespace {

thread_local Partition* current_partition = nullptr;
thread_local std::string last_message;

void KeepMessage(TfLiteContext*, const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  last_message = text;
}

// While it exists, this thread plans a partition, and what is said to the context is kept as the reason of a failure.
class Planning {
 public:
  Planning(TfLiteContext* context, Partition* partition)
      : context_(context), report_error_(context->ReportError), outer_(current_partition) {
    context->ReportError = KeepMessage;
    current_partition = partition;
    last_message.clear();
  }
  ~Planning() {
    context_->ReportError = report_error_;
    current_partition = outer_;
  }
  Planning(const Planning&) = delete;
  Planning& operator=(const Planning&) = delete;

 private:
  TfLiteContext* const context_;
  decltype(TfLiteContext::ReportError) const report_error_;
  Partition* const outer_;
};

}  // namespace

Partition* Partition::Current() { return current_partition; }

Partition::Partition(std::shared_ptr<Plugin> plugin, std::shared_ptr<Graph> graph, const TfLiteRegistration& kernel)
    : plugin_(std::move(plugin)), graph_(std::move(graph)), kernel_(kernel) {}

Partition::~Partition() { plugin_->Remove(this); }

TfLiteStatus Partition::Init(TfLiteContext* context, const TfLiteDelegateParams& params) {
  params_ = params;
  // TFLite's delegate is behind the one that the interpreter knows.
  params_.delegate = plugin_->xnnpack_delegate();
  if (originals_.Copy(context, *params.nodes_to_replace) != kTfLiteOk) return kTfLiteError;
  report_.subgraph = graph_->subgraph;
  report_.nodes.assign(params.nodes_to_replace->data,
                       params.nodes_to_replace->data + params.nodes_to_replace->size);
  kernel_data_ = kernel_.init(context, reinterpret_cast<const char*>(&params_), sizeof(params_));
  return kernel_data_ != nullptr ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus Partition::Prepare(TfLiteContext* context, TfLiteNode* node) {
  const TfLiteStatus status = originals_.Prepare(context);
  if (status != kTfLiteOk) return status;
  std::vector<int> dimensions = originals_.Dimensions(*context);
  const bool same = dimensions == dimensions_ && (planned_ || !why_left_.empty());
  if (!same) {
    dimensions_.clear();
    runtime_ = nullptr;
    planned_ = false;
    why_left_ = Plan(context);
    planned_ = why_left_.empty();
    dimensions_ = std::move(dimensions);
    plugin_->Planned(*this);
  }
  // Where the interpreter's kernels run, they need memory for what they hand to each other.
  const std::vector<int> inner =
      planned_ ? std::vector<int>() : originals_.InnerTensors(*context, *params_.output_tensors);
  TfLiteIntArrayFree(node->temporaries);
  node->temporaries = TfLiteIntArrayCreate(static_cast<int>(inner.size()));
  std::copy(inner.begin(), inner.end(), node->temporaries->data);
  return same ? kTfLiteOk : plugin_->WriteReport(context);
}

std::string Partition::Plan(TfLiteContext* context) {
  const Planning planning(context, this);
  const DelegateContext delegate_context(context, &originals_);
  ModelChecks checks = graph_->checks;
  checks.Restart();
  for (const Originals::Original& original : originals_.nodes()) {
    const char* why = checks.Refuse(*context, original.registration, original.node, ModelChecks::Shapes::kPrepared);
    if (why != nullptr) return "node #" + std::to_string(original.index) + ": " + why;
  }
  threads_ = graph_->threads->Get();
  TfLiteNode kernel_node{};
  kernel_node.user_data = kernel_data_;
  if (kernel_.prepare(context, &kernel_node) != kTfLiteOk) {
    return "XNNPACK does not plan it: " + (last_message.empty() ? "no reason given" : last_message);
  }
  return std::string();
}

void Partition::AddLeft(std::vector<LeftNode>* left) const {
  for (const Originals::Original& original : originals_.nodes()) {
    left->push_back({graph_->subgraph, original.index, original.registration.builtin_code, why_left_});
  }
}

bool Partition::RuntimeCreated(TfLiteContext* context, xnn_runtime* runtime) {
  runtime_ = runtime;
  report_.layers.clear();
  report_.layout_conversions = 0;
  return ReadLayers(context, params_, runtime, &report_);
}

TfLiteStatus Partition::Invoke(TfLiteContext* context) {
  if (!planned_) return originals_.Invoke(context);
  const pthreadpool_t threads = graph_->threads->Get();
  if (threads != threads_) {
    if (!ChangeThreads(runtime_, threads)) {
      context->ReportError(context, "nmpack: cannot make %d threads in a child process", graph_->threads->threads());
      return kTfLiteError;
    }
    threads_ = threads;
  }
  TfLiteNode kernel_node{};
  kernel_node.user_data = kernel_data_;
  return kernel_.invoke(context, &kernel_node);
}

void Partition::Free(TfLiteContext* context) {
  if (kernel_data_ != nullptr) kernel_.free(context, kernel_data_);
  originals_.Free(context);
}

}  // namespace nmpack
