// SPDX-License-Identifier: BSD-3-Clause
#include "plugin.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <unordered_set>
#include <utility>

#include "in_front.h"
#include "layers.h"
#include "operators.h"
#include "peak.h"
#include "shapes.h"
#include "subgraph_index.h"
#include "tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h"
#include "xnnpack.h"

namespace nmpack {
namespace {

// Values of the option 'tuning' that are no path, and where a model holds its table.
constexpr char kModelTuning[] = "model";
constexpr char kNoTuning[] = "none";
constexpr char kTuningMetadata[] = "nmpack_tuning";

// What this thread is applying a delegate to.
struct Applying;
thread_local Applying* applying = nullptr;

struct Applying {
  explicit Applying(std::shared_ptr<Graph> graph) : graph(std::move(graph)) { applying = this; }
  ~Applying() { applying = nullptr; }
  Applying(const Applying&) = delete;
  Applying& operator=(const Applying&) = delete;

  const std::shared_ptr<Graph> graph;
  Shapes shapes;
  bool replaced = false;
};

using Lock = std::lock_guard<std::mutex>;

// Nothing may be thrown into the interpreter.
template <typename Function>
TfLiteStatus Guarded(TfLiteContext* context, Function function) {
  try {
    return function();
  } catch (const std::exception& error) {
    context->ReportError(context, "nmpack: %s", error.what());
    return kTfLiteError;
  }
}

}  // namespace

Plugin::Plugin(Options options) : options_(std::move(options)), delegate_{} {
  delegate_.data_ = this;
  delegate_.Prepare = OnPrepare;
  // Inputs may be resized after the delegate has been applied, and other nodes may decide the shapes of what we read.
  delegate_.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
}

Plugin::~Plugin() { TfLiteXNNPackDelegateDelete(xnnpack_); }

TfLiteDelegate* Plugin::Create(Options options, std::string* error) {
  const std::shared_ptr<Plugin> plugin(new Plugin(std::move(options)));
  TfLiteXNNPackDelegateOptions xnnpack = TfLiteXNNPackDelegateOptionsDefault();
  xnnpack.runtime_flags = RuntimeFlags(plugin->options_.nm, plugin->options_.layout);
  if (plugin->profiles()) xnnpack.runtime_flags |= XNN_FLAG_BASIC_PROFILING;
  xnnpack.hook_data = plugin.get();
  xnnpack.accept_node = [](void* data, const TfLiteContext* context, const TfLiteRegistration* registration,
                           const TfLiteNode* node, int index) {
    return static_cast<Plugin*>(data)->AcceptNode(*context, *registration, *node, index);
  };
  xnnpack.keep_sparse = [](void*, TfLiteContext* context, int sparse_tensor, int dense_tensor) {
    return applying->graph->sparse_filters.Keep(context, sparse_tensor, dense_tensor);
  };
  xnnpack.replace_nodes = [](void* data, TfLiteContext* context, const TfLiteRegistration* kernel,
                             const TfLiteIntArray* nodes) {
    return static_cast<Plugin*>(data)->ReplaceNodes(context, *kernel, *nodes);
  };
  xnnpack.define_densified = [](void*, TfLiteContext* context, int dense_tensor, xnn_subgraph* subgraph,
                                uint32_t* value_id) {
    return Partition::Current()->graph().sparse_filters.Define(context, dense_tensor, subgraph, value_id);
  };
  xnnpack.subgraph_defined = [](void* data, TfLiteContext* context, xnn_subgraph* subgraph, uint32_t* flags) {
    static_cast<Plugin*>(data)->Tune(context, subgraph);
    *flags |= Partition::Current()->RuntimeFlags();
    return kTfLiteOk;
  };
  xnnpack.get_threadpool = [](void*) { return Partition::Current()->graph().threads->Get(); };
  xnnpack.runtime_created = [](void*, TfLiteContext* context, const TfLiteDelegateParams*, xnn_runtime* runtime,
                               const uint32_t* value_ids) {
    if (Partition::Current()->RuntimeCreated(context, runtime, value_ids)) return kTfLiteOk;
    context->ReportError(context, "cannot read what XNNPACK decided for the layers");
    return kTfLiteError;
  };
  plugin->xnnpack_ = TfLiteXNNPackDelegateCreate(&xnnpack);
  if (plugin->xnnpack_ == nullptr) {
    *error = "XNNPACK does not run on this machine: it found no kernels for the processor or no memory";
    return nullptr;
  }
  if (plugin->options_.verbose && !RiscvVector().empty()) {
    std::fprintf(stderr, "nmpack: %s\n", RiscvVector().c_str());
  }
  plugin->ReadTuning();
  plugin->self_ = plugin;
  return &plugin->delegate_;
}

void Plugin::Release(TfLiteDelegate* delegate) {
  // Partitions that are still there keep it.
  const std::shared_ptr<Plugin> plugin = std::move(static_cast<Plugin*>(delegate->data_)->self_);
}

TfLiteStatus Plugin::OnPrepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  return Guarded(context, [&] { return static_cast<Plugin*>(delegate->data_)->Prepare(context); });
}

void* Plugin::OnInit(TfLiteContext* context, const char* buffer, size_t) {
  const auto& params = *reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  Plugin& plugin = *static_cast<Plugin*>(params.delegate->data_);
  std::unique_ptr<Partition> partition;
  const TfLiteStatus status = Guarded(context, [&] {
    partition = std::make_unique<Partition>(plugin.shared_from_this(), applying->graph, plugin.kernel_);
    const TfLiteStatus status = partition->Init(context, params);
    const Lock lock(Locks::Get().delegates);
    plugin.partitions_.push_back(partition.get());
    return status;
  });
  return status == kTfLiteOk ? partition.release() : nullptr;
}

TfLiteStatus Plugin::OnPrepareKernel(TfLiteContext* context, TfLiteNode* node) {
  if (node->user_data == nullptr) return kTfLiteError;
  return Guarded(context, [&] { return static_cast<Partition*>(node->user_data)->Prepare(context, node); });
}

TfLiteStatus Plugin::OnInvoke(TfLiteContext* context, TfLiteNode* node) {
  return Guarded(context, [&] { return static_cast<Partition*>(node->user_data)->Invoke(context); });
}

void Plugin::OnFree(TfLiteContext* context, void* buffer) {
  if (buffer == nullptr) return;
  const std::unique_ptr<Partition> partition(static_cast<Partition*>(buffer));
  partition->Free(context);
}

TfLiteStatus Plugin::Prepare(TfLiteContext* context) {
  // TFLite's delegate is applied to one graph at a time.
  const Lock lock(Locks::Get().applying);
  Applying now(NewGraph(context));
  now.shapes.Look(context);
  now.graph->checks.Begin(context);
  TfLiteStatus status = kTfLiteOk;
  {
    const StandIns stand_ins(context);
    status = xnnpack_->Prepare(context, xnnpack_);
  }
  if (status != kTfLiteOk && now.replaced) return status;
  WriteReport();
  return kTfLiteOk;
}

bool Plugin::AcceptNode(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node,
                        int index) {
  Graph& graph = *applying->graph;
  const char* why = registration.registration_external != nullptr
                        ? "its kernel is behind an interface that delegates cannot call"
                        : graph.checks.Refuse(context, registration, node, ModelChecks::Shapes::kStated);
  if (why == nullptr) why = applying->shapes.Refuse(registration, node);
  if (why != nullptr) Leave(&graph, index, registration.builtin_code, why);
  return why == nullptr;
}

void Plugin::ReadTuning() {
  if (options_.tuning == kModelTuning || options_.tuning == kNoTuning) return;
  std::string why;
  tuning_ = Tuning::Read(options_.tuning, &why);
  if (tuning_ == nullptr) SayNoTuning("'" + options_.tuning + "'", why);
}

void Plugin::Tune(TfLiteContext* context, xnn_subgraph* subgraph) {
  std::unique_ptr<const Tuning> of_model;
  std::string why;
  const char* text = nullptr;
  size_t size = 0;
  if (options_.tuning == kModelTuning &&
      context->GetModelMetadata(context, kTuningMetadata, &text, &size) == kTfLiteOk) {
    of_model = Tuning::Parse(text, size, &why);
    if (of_model == nullptr) SayNoTuning("in the model", why);
  }
  const Tuning* tuning = of_model != nullptr ? of_model.get() : tuning_.get();
  if (tuning == nullptr) return;
  why = tuning->Refuse(Partition::Current()->graph().threads->threads());
  if (!why.empty()) {
    // A model goes to many machines, a file was named for this one.
    if (of_model == nullptr || options_.verbose) SayNoTuning(of_model ? "in the model" : "'" + options_.tuning + "'", why);
    return;
  }
  why = tuning->Apply(subgraph);
  if (!why.empty()) SayNoTuning(of_model ? "in the model" : "'" + options_.tuning + "'", why);
}

void Plugin::SayNotF16(const PartitionReport& partition) {
  if (!f16_failed_.exchange(true)) {
    std::fprintf(stderr, "nmpack: %zu nodes run in the model's precision: %s\n", partition.nodes.size(),
                 partition.why_not_f16.c_str());
  }
}

void Plugin::SayNoTuning(const std::string& table, const std::string& why) {
  if (!tuning_failed_.exchange(true)) {
    std::fprintf(stderr, "nmpack: the tuning table %s is not used: %s\n", table.c_str(), why.c_str());
  }
}

void Plugin::Leave(Graph* graph, int node, int builtin_code, const std::string& reason) {
  if (options_.verbose) {
    std::fprintf(stderr, "nmpack: subgraph %d: node #%d (builtin operator %d) is left to the interpreter: %s\n",
                 graph->subgraph, node, builtin_code, reason.c_str());
  }
  graph->left.push_back({graph->subgraph, node, builtin_code, reason});
}

TfLiteStatus Plugin::ReplaceNodes(TfLiteContext* context, const TfLiteRegistration& kernel,
                                  const TfLiteIntArray& taken) {
  Graph& graph = *applying->graph;
  kernel_ = kernel;
  const std::unordered_set<int> in_front = FindMovesInFront(context, taken);
  const std::unique_ptr<TfLiteIntArray, decltype(&TfLiteIntArrayFree)> kept(TfLiteIntArrayCreate(taken.size),
                                                                            &TfLiteIntArrayFree);
  TfLiteIntArray& nodes = *kept;
  nodes.size = 0;
  std::for_each_n(taken.data, taken.size, [&](int index) {
    if (in_front.count(index) == 0) nodes.data[nodes.size++] = index;
  });
  std::unordered_set<int> seen(nodes.data, nodes.data + nodes.size);
  for (const LeftNode& left : graph.left) seen.insert(left.node);
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (seen.count(plan->data[i]) == 0 &&
        context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) == kTfLiteOk) {
      Leave(&graph, plan->data[i], registration->builtin_code,
            in_front.count(plan->data[i]) != 0
                ? "it brings to its place what only nodes of the interpreter read"
                : "XNNPACK's delegate does not take such an operator, or not with these types and parameters");
    }
  }
  // Whatever it is asked for, an interpreter that replaces nodes moves others, too.
  if (nodes.size == 0) return kTfLiteOk;
  applying->replaced = true;
  TfLiteRegistration ours{};
  ours.init = OnInit;
  ours.free = OnFree;
  ours.prepare = OnPrepareKernel;
  ours.invoke = OnInvoke;
  ours.custom_name = "NmpackDelegate";
  ours.version = kernel.version;
  return context->ReplaceNodeSubsetsWithDelegateKernels(context, ours, &nodes, &delegate_);
}

std::shared_ptr<Graph> Plugin::NewGraph(TfLiteContext* context) {
  auto graph = std::make_shared<Graph>();
  graph->subgraph = SubgraphIndex(context);
  graph->threads = Threads(*context);
  const Lock lock(Locks::Get().delegates);
  // Another model begins. Graphs of which nothing was taken do not say when they go.
  if (graph->subgraph == 0) {
    for (auto i = graphs_.begin(); i != graphs_.end();) i = i->second.use_count() == 1 ? graphs_.erase(i) : ++i;
  }
  graphs_[context] = graph;
  return graph;
}

std::shared_ptr<ThreadPool> Plugin::Threads(const TfLiteContext& context) {
  const int asked = options_.num_threads > 0 ? options_.num_threads : context.recommended_num_threads;
  const int usable = UsableProcessors();
  const int count = asked > 0 ? std::min(asked, usable) : usable;
  const Lock lock(Locks::Get().delegates);
  if (asked > usable && !warned_) {
    std::fprintf(stderr, "nmpack: %d threads are asked for, but this process may use %d processor%s: %d run\n", asked,
                 usable, usable == 1 ? "" : "s", count);
    warned_ = true;
  }
  threads_ = count;
  std::weak_ptr<ThreadPool>& known = pools_[count];
  std::shared_ptr<ThreadPool> pool = known.lock();
  if (pool == nullptr) {
    pool = std::make_shared<ThreadPool>(count);
    known = pool;
  }
  return pool;
}

void Plugin::Publish(Partition::Outcome outcome, Partition::Outcome* published) {
  if (options_.verbose) Say(outcome);
  const Lock lock(Locks::Get().delegates);
  *published = std::move(outcome);
  report_is_stale_ = !options_.report.empty();
}

void Plugin::Say(const Partition::Outcome& outcome) const {
  const PartitionReport& report = outcome.report;
  if (!outcome.planned) {
    std::fprintf(stderr, "nmpack: subgraph %d: %zu nodes are left to the interpreter's kernels: %s\n",
                 report.subgraph, report.nodes.size(), outcome.why_left.c_str());
    return;
  }
  size_t sparse = 0;
  for (const Layer& layer : report.layers) {
    std::fprintf(stderr, "nmpack: %s\n", Describe(layer).c_str());
    sparse += layer.sparse ? 1 : 0;
  }
  std::fprintf(stderr,
               "nmpack: subgraph %d: a partition of %zu nodes, %zu layers, %zu of them N:M, %zu layout "
               "conversions\n",
               report.subgraph, report.nodes.size(), report.layers.size(), sparse, report.layout_conversions);
}

void Plugin::Remove(Partition* partition) {
  Keep(partition->TakeProfile());
  {
    const Lock lock(Locks::Get().delegates);
    partitions_.erase(std::remove(partitions_.begin(), partitions_.end(), partition), partitions_.end());
    const auto same_graph = [&](const Partition* other) { return other->shared_graph() == partition->shared_graph(); };
    if (std::any_of(partitions_.begin(), partitions_.end(), same_graph)) return;
    for (auto i = graphs_.begin(); i != graphs_.end();) {
      i = i->second == partition->shared_graph() ? graphs_.erase(i) : ++i;
    }
  }
  if (profiles()) WriteProfiles(partition->graph().threads.get());
}

void Plugin::Keep(std::unique_ptr<const PartitionProfile> profile) {
  const Lock lock(Locks::Get().delegates);
  profiles_.Keep(std::move(profile));
}

void Plugin::WriteProfiles(ThreadPool* threads) {
  const pthreadpool_t pool = threads->Get();
  const std::map<std::string, double> peaks = MeasurePeaks(pool);
  const Lock writing(Locks::Get().files);  // or another thread's older content might replace this
  std::string json;
  {
    const Lock lock(Locks::Get().delegates);
    for (const auto& [type, peak] : peaks) {
      double& best = profiles_.peaks[{threads->threads(), type}];
      best = std::max(best, peak);
    }
    json = profiles_.ToJson();
  }
  const std::string error = WriteWhole(options_.profile, json);
  if (!error.empty() && !profile_failed_.exchange(true)) std::fprintf(stderr, "nmpack: %s\n", error.c_str());
}

Report Plugin::MakeReport() {
  const Lock lock(Locks::Get().delegates);
  Report report;
  report_is_stale_ = false;
  report.threads = threads_;
  report.riscv_vector = RiscvVector();
  for (const auto& [context, graph] : graphs_) {
    report.left.insert(report.left.end(), graph->left.begin(), graph->left.end());
  }
  for (const Partition* partition : partitions_) {
    if (partition->outcome().planned) {
      report.partitions.push_back(partition->outcome().report);
      report.threads = partition->graph().threads->threads();
    } else if (!partition->outcome().why_left.empty()) {
      partition->AddLeft(&report.left);
    }
  }
  const auto by_subgraph = [](const auto& a, const auto& b) { return a.subgraph < b.subgraph; };
  std::stable_sort(report.partitions.begin(), report.partitions.end(), by_subgraph);
  std::stable_sort(report.left.begin(), report.left.end(), [](const LeftNode& a, const LeftNode& b) {
    return std::make_pair(a.subgraph, a.node) < std::make_pair(b.subgraph, b.node);
  });
  return report;
}

void Plugin::WriteReport() {
  if (options_.report.empty()) return;
  const Lock writing(Locks::Get().files);
  const std::string error = WriteWhole(options_.report, ToJson(MakeReport()));
  if (!error.empty() && !report_failed_.exchange(true)) std::fprintf(stderr, "nmpack: %s\n", error.c_str());
}

}  // namespace nmpack

#define NMPACK_EXPORT extern "C" __attribute__((visibility("default")))

// The two functions that an interpreter looks up in a delegate library.

NMPACK_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(const char* const* options_keys,
                                                            const char* const* options_values,
                                                            size_t num_options,
                                                            void (*report_error)(const char*)) {
  std::string error;
  TfLiteDelegate* delegate = nullptr;
  try {
    nmpack::Options options;
    error = nmpack::ParseOptions(options_keys, options_values, num_options, &options);
    for (const std::string& path : {options.report, options.profile}) {
      if (error.empty() && !path.empty()) error = nmpack::CheckWritable(path);
    }
    if (error.empty() && !options.profile.empty() && !nmpack::CanProfile()) {
      error = "option 'profile': this build's XNNPACK does not tell the times of operators";
    }
    if (error.empty()) delegate = nmpack::Plugin::Create(options, &error);
  } catch (const std::exception& exception) {
    error = exception.what();
  }
  if (delegate == nullptr) {
    error = "nmpack delegate: " + error;
    if (report_error != nullptr) {
      report_error(error.c_str());
    } else {
      std::fprintf(stderr, "%s\n", error.c_str());
    }
  }
  return delegate;
}

NMPACK_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate != nullptr) nmpack::Plugin::Release(delegate);
}
