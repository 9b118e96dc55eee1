// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_PARTITION_H_
#define NMPACK_DELEGATE_PARTITION_H_

#include <memory>
#include <string>
#include <vector>

#include "model_checks.h"
#include "originals.h"
#include "report.h"
#include "sparse_rows.h"
#include "tensorflow/lite/core/c/common.h"
#include "threads.h"

struct xnn_runtime;

namespace nmpack {

class Plugin;

// What the partitions of one graph share. It lives as long as any of them.
struct Graph {
  int subgraph = 0;  // in the model
  ModelChecks checks;
  SparseFilters sparse_filters;
  std::shared_ptr<ThreadPool> threads;
  std::vector<LeftNode> left;  // nodes that were not taken when the delegate was applied
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

  // Called back while the partition is planned.
  bool RuntimeCreated(TfLiteContext* context, xnn_runtime* runtime);

  const Graph& graph() const { return *graph_; }
  const std::shared_ptr<Graph>& shared_graph() const { return graph_; }
  // Null, or why the interpreter's kernels run the nodes.
  const std::string& why_left() const { return why_left_; }
  bool planned() const { return planned_; }
  const PartitionReport& report() const { return report_; }
  void AddLeft(std::vector<LeftNode>* left) const;  // each of its nodes, with the reason

  // The partition that this thread is planning, or null.
  static Partition* Current();

 private:
  std::string Plan(TfLiteContext* context);

  const std::shared_ptr<Plugin> plugin_;
  const std::shared_ptr<Graph> graph_;
  const TfLiteRegistration kernel_;  // of TFLite's delegate
  TfLiteDelegateParams params_{};
  void* kernel_data_ = nullptr;
  Originals originals_;

  std::vector<int> dimensions_;  // that the plan is for
  bool planned_ = false;         // or left to the interpreter's kernels, for dimensions_
  std::string why_left_;
  xnn_runtime* runtime_ = nullptr;
  pthreadpool_t threads_ = nullptr;  // of runtime_
  PartitionReport report_;
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_PARTITION_H_
