// SPDX-License-Identifier: BSD-3-Clause
#include "partition.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <exception>
#include <utility>

#include "layers.h"
#include "plugin.h"
#include "tensorflow/lite/builtin_ops.h"
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

Partition::~Partition() {
  // Nothing may be thrown into the interpreter.
  try {
    plugin_->Remove(this);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nmpack: %s\n", error.what());
  }
}

TfLiteStatus Partition::Init(TfLiteContext* context, const TfLiteDelegateParams& params) {
  params_ = params;
  // TFLite's delegate is behind the one that the interpreter knows.
  params_.delegate = plugin_->xnnpack_delegate();
  if (originals_.Copy(context, *params.nodes_to_replace) != kTfLiteOk) return kTfLiteError;
  FindUnpackers(*context);
  std::for_each_n(params.input_tensors->data, params.input_tensors->size, [this](int tensor) { Borrow(tensor); });
  place_ = graph_->num_partitions++;
  kernel_data_ = kernel_.init(context, reinterpret_cast<const char*>(&params_), sizeof(params_));
  return kernel_data_ != nullptr ? kTfLiteOk : kTfLiteError;
}

void Partition::FindUnpackers(const TfLiteContext& context) {
  for (size_t i = 0; i < originals_.nodes().size(); i++) {
    const Originals::Original& original = originals_.nodes()[i];
    const int code = original.registration.builtin_code;
    if (code != kTfLiteBuiltinDequantize && code != kTfLiteBuiltinDensify) continue;
    const int input = original.node.inputs->data[0];
    if (context.tensors[input].allocation_type == kTfLiteMmapRo || graph_->unpackers.count(input) != 0) {
      graph_->unpackers[original.node.outputs->data[0]] = {this, i};
    }
  }
}

void Partition::Borrow(int tensor) {
  const auto found = graph_->unpackers.find(tensor);
  if (found == graph_->unpackers.end() || found->second.owner == this) return;
  const Unpacker& unpacker = found->second;
  Borrow(unpacker.owner->originals_.nodes()[unpacker.position].node.inputs->data[0]);
  borrowed_.push_back(unpacker);
}

TfLiteStatus Partition::Prepare(TfLiteContext* context, TfLiteNode* node) {
  originals_ready_ = false;
  TfLiteStatus status = originals_.Prepare(context, /*for_xnnpack=*/true);
  if (status != kTfLiteOk) return status;
  std::vector<int> dimensions = originals_.Dimensions(*context);
  if (dimensions != dimensions_) {
    dimensions_.clear();
    plugin_->Publish(Plan(context), &outcome_);
    dimensions_ = std::move(dimensions);
  }
  if (!outcome_.planned && !originals_.all_prepared()) {
    status = originals_.Prepare(context, /*for_xnnpack=*/false);
    if (status != kTfLiteOk) return status;
  }
  const std::vector<int> inner = InnerTensors(*context);
  TfLiteIntArrayFree(node->temporaries);
  node->temporaries = TfLiteIntArrayCreate(static_cast<int>(inner.size()));
  std::copy(inner.begin(), inner.end(), node->temporaries->data);
  originals_ready_ = !outcome_.planned;
  if (place_ + 1 == graph_->num_partitions) plugin_->WriteReport();
  return kTfLiteOk;
}

// Tensors between the nodes that have memory. Where the interpreter's kernels run, all need it. Where XNNPACK runs,
// those that would be computed once and for all keep it: where such tensors lie must never change, or all are lost.
std::vector<int> Partition::InnerTensors(const TfLiteContext& context) const {
  std::vector<int> result = originals_.InnerTensors(context, *params_.output_tensors);
  const auto comes_and_goes = [&](int tensor) {
    return context.tensors[tensor].allocation_type != kTfLiteArenaRwPersistent;
  };
  if (outcome_.planned) {
    result.erase(std::remove_if(result.begin(), result.end(), comes_and_goes), result.end());
    return result;
  }
  // What is unpacked in two steps has a tensor between them. The last one's output is an input, with memory.
  const int* inputs = params_.input_tensors->data;
  const int* end = inputs + params_.input_tensors->size;
  for (const Unpacker& unpacker : borrowed_) {
    const int output = unpacker.owner->originals_.nodes()[unpacker.position].node.outputs->data[0];
    if (comes_and_goes(output) && std::find(inputs, end, output) == end) result.push_back(output);
  }
  return result;
}

Partition::Outcome Partition::Plan(TfLiteContext* context) {
  const Planning planning(context, this);
  const DelegateContext delegate_context(context, &originals_);
  Outcome outcome;
  outcome.report.subgraph = graph_->subgraph;
  outcome.report.nodes.assign(params_.nodes_to_replace->data,
                              params_.nodes_to_replace->data + params_.nodes_to_replace->size);
  runtime_ = nullptr;
  plugin_->Keep(TakeProfile());
  for (const Originals::Original& original : originals_.nodes()) {
    const char* why =
        graph_->checks.Refuse(*context, original.registration, original.node, ModelChecks::Shapes::kPrepared);
    if (why == nullptr) continue;
    outcome.why_left = "node #" + std::to_string(original.index) + ": " + why;
    return outcome;
  }
  threads_ = graph_->threads->Get();
  if (plugin_->precision() == Precision::kF16 && PlanIn(Precision::kF16, context, &outcome.report)) {
    outcome.planned = true;
    return outcome;
  }
  const std::string why_not_f16 = std::exchange(last_message, std::string());
  outcome.planned = PlanIn(Precision::kModel, context, &outcome.report);
  if (!outcome.planned) {
    outcome.why_left = "XNNPACK does not plan it: " + (last_message.empty() ? "no reason given" : last_message);
  } else if (plugin_->precision() == Precision::kF16) {
    outcome.report.why_not_f16 =
        "XNNPACK does not plan it in half precision: " + (why_not_f16.empty() ? "no reason given" : why_not_f16);
    plugin_->SayNotF16(outcome.report);
  }
  return outcome;
}

bool Partition::PlanIn(Precision precision, TfLiteContext* context, PartitionReport* report) {
  TfLiteNode kernel_node{};
  kernel_node.user_data = kernel_data_;
  precision_ = precision;
  report->layers.clear();
  filling_ = report;
  const bool planned = kernel_.prepare(context, &kernel_node) == kTfLiteOk;
  filling_ = nullptr;
  report->in_f16 = planned && precision == Precision::kF16;
  return planned;
}

uint32_t Partition::RuntimeFlags() const { return precision_ == Precision::kF16 ? XNN_FLAG_FORCE_FP16_INFERENCE : 0; }

void Partition::AddLeft(std::vector<LeftNode>* left) const {
  for (const Originals::Original& original : originals_.nodes()) {
    left->push_back({graph_->subgraph, original.index, original.registration.builtin_code, outcome_.why_left});
  }
}

bool Partition::RuntimeCreated(TfLiteContext* context, xnn_runtime* runtime, const uint32_t* value_ids) {
  runtime_ = runtime;
  if (!ReadLayers(context, params_, runtime, value_ids, filling_)) return false;
  if (!plugin_->profiles()) return true;
  std::vector<Operator> operators;
  if (!ReadOperators(context, params_, runtime, value_ids, *filling_, &operators)) return false;
  profile_ = std::make_unique<PartitionProfile>(*context, params_, *filling_, graph_->threads->threads(),
                                                std::move(operators));
  return true;
}

TfLiteStatus Partition::Invoke(TfLiteContext* context) {
  if (plugin_->report_is_stale()) plugin_->WriteReport();
  if (!outcome_.planned) {
    if (!originals_ready_) {
      context->ReportError(context, "nmpack: cannot run until tensors are allocated again: %s",
                           outcome_.why_left.c_str());
      return kTfLiteError;
    }
    for (const Unpacker& unpacker : borrowed_) {
      const TfLiteStatus status = unpacker.owner->originals_.InvokeNode(context, unpacker.position);
      if (status != kTfLiteOk) return status;
    }
    return originals_.Invoke(context);
  }
  const pthreadpool_t threads = graph_->threads->Get();
  if (threads != threads_) {
    const TfLiteStatus status = ChangeThreadPool(context, threads);
    if (status != kTfLiteOk) return status;
  }
  return InvokeRuntime(context);
}

TfLiteStatus Partition::InvokeRuntime(TfLiteContext* context) {
  TfLiteNode kernel_node{};
  kernel_node.user_data = kernel_data_;
  if (profile_ == nullptr) return kernel_.invoke(context, &kernel_node);
  const uint64_t start = Nanoseconds();
  const TfLiteStatus status = kernel_.invoke(context, &kernel_node);
  if (status == kTfLiteOk) profile_->Add(runtime_, Nanoseconds() - start);
  return status;
}

// In a child process.
TfLiteStatus Partition::ChangeThreadPool(TfLiteContext* context, pthreadpool_t threads) {
  if (ChangeThreads(runtime_, threads)) {
    threads_ = threads;
    return kTfLiteOk;
  }
  // A runtime is planned for a number of threads, and there are fewer now.
  plugin_->Publish(Plan(context), &outcome_);
  if (outcome_.planned) return kTfLiteOk;
  // Nor is there memory for the interpreter's kernels: nobody asked for it. Later runs fail, too.
  context->ReportError(context, "nmpack: cannot plan anew in a child process: %s", outcome_.why_left.c_str());
  dimensions_.clear();
  return kTfLiteError;
}

void Partition::Free(TfLiteContext* context) {
  if (kernel_data_ != nullptr) kernel_.free(context, kernel_data_);
  originals_.Free(context);
}

}  // namespace nmpack
