// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_PARTITION_H_
#define NMPACK_DELEGATE_PARTITION_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "model_checks.h"
#include "options.h"
#include "originals.h"
#include "profile.h"
#include "report.h"
#include "sparse_rows.h"
#include "tensorflow/lite/core/c/common.h"
#include "threads.h"

struct xnn_runtime;

namespace nmpack {

class Partition;
class Plugin;

// A node that unpacks a constant. XNNPACK does that when it plans and leaves the node's output as it is, so a partition
// on the interpreter's kernels that reads the output of another partition's node has the node run.
struct Unpacker {
  Partition* owner;
  size_t position;  // in the owner's nodes
};

// What the partitions of one graph share. It lives as long as any of them.
struct Graph {
  int subgraph = 0;  // in the model
  ModelChecks checks;
  SparseFilters sparse_filters;
  std::shared_ptr<ThreadPool> threads;
  std::vector<LeftNode> left;  // nodes that were not taken when the delegate was applied
  std::unordered_map<int, Unpacker> unpackers;  // by output
  size_t num_partitions = 0;
};

// A delegate kernel: nodes that run as one. It is planned when the interpreter prepares it, for the shapes that its
// tensors have then. Where XNNPACK cannot do it, the interpreter's own kernels run the nodes, so a model that runs
// without the delegate runs with it.
class Partition {
 public:
  Partition(std::shared_ptr<Plugin> plugin, std::shared_ptr<Graph> graph, const TfLiteRegistration& kernel);
  ~Partition();
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  TfLiteStatus Init(TfLiteContext* context, const TfLiteDelegateParams& params);
  TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* node);
  TfLiteStatus Invoke(TfLiteContext* context);
  void Free(TfLiteContext* context);

  // Called back while the partition is planned. The first is added to the flags of all runtimes.
  uint32_t RuntimeFlags() const;
  bool RuntimeCreated(TfLiteContext* context, xnn_runtime* runtime, const uint32_t* value_ids);

  const Graph& graph() const { return *graph_; }
  const std::shared_ptr<Graph>& shared_graph() const { return graph_; }
  // What became of it when it was prepared: planned, or left to the interpreter's kernels with a reason.
  struct Outcome {
    bool planned = false;
    std::string why_left;
    PartitionReport report;
  };
  const Outcome& outcome() const { return outcome_; }
  void AddLeft(std::vector<LeftNode>* left) const;  // each of its nodes, with the reason
  // What its operators took so far, if anyone asked; from then on they begin anew.
  std::unique_ptr<const PartitionProfile> TakeProfile() { return std::move(profile_); }

  // The partition that this thread is planning, or null.
  static Partition* Current();

 private:
  Outcome Plan(TfLiteContext* context);
  bool PlanIn(Precision precision, TfLiteContext* context, PartitionReport* report);
  TfLiteStatus ChangeThreadPool(TfLiteContext* context, pthreadpool_t threads);
  TfLiteStatus InvokeRuntime(TfLiteContext* context);
  void FindUnpackers(const TfLiteContext& context);
  void Borrow(int tensor);
  std::vector<int> InnerTensors(const TfLiteContext& context) const;

  const std::shared_ptr<Plugin> plugin_;
  const std::shared_ptr<Graph> graph_;
  const TfLiteRegistration kernel_;  // of TFLite's delegate
  TfLiteDelegateParams params_{};
  void* kernel_data_ = nullptr;
  Originals originals_;
  std::vector<Unpacker> borrowed_;  // what it reads of others' unpacked constants, in the order to run

  std::vector<int> dimensions_;      // that the outcome is for
  Outcome outcome_;                  // changed by Plugin::Publish alone
  bool originals_ready_ = false;     // the interpreter's kernels are all prepared, and their tensors have memory
  PartitionReport* filling_ = nullptr;  // while it is planned
  Precision precision_ = Precision::kModel;  // that it is, or was last, planned in
  xnn_runtime* runtime_ = nullptr;
  pthreadpool_t threads_ = nullptr;  // of runtime_
  std::unique_ptr<PartitionProfile> profile_;  // of runtime_
  size_t place_ = 0;                 // among the graph's partitions
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_PARTITION_H_
