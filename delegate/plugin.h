// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_PLUGIN_H_
#define NMPACK_DELEGATE_PLUGIN_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "options.h"
#include "partition.h"
#include "profile.h"
#include "report.h"
#include "tensorflow/lite/core/c/common.h"
#include "threads.h"
#include "tuning.h"

namespace nmpack {

// A delegate as an interpreter knows it, around TFLite's XNNPACK delegate. It may be applied to any number of graphs and
// interpreters, also at the same time, and lives as long as one of their partitions.
class Plugin : public std::enable_shared_from_this<Plugin> {
 public:
  // Returns null and fills `error` unless all went well. The result owns itself until Release.
  static TfLiteDelegate* Create(Options options, std::string* error);
  static void Release(TfLiteDelegate* delegate);

  ~Plugin();

  TfLiteDelegate* xnnpack_delegate() const { return xnnpack_; }

  // Makes what became of a partition known to all threads.
  void Publish(Partition::Outcome outcome, Partition::Outcome* published);
  void Remove(Partition* partition);

  // Writes the report if one was asked for. Where that fails it is said once: a model runs on without.
  void WriteReport();
  // Whether times of operators are asked for. They are written when the last partition of a graph has gone.
  bool profiles() const { return !options_.profile.empty(); }
  Precision precision() const { return options_.precision; }
  // Says once that a partition does not run in half precision, and why.
  void SayNotF16(const PartitionReport& partition);
  void Keep(std::unique_ptr<const PartitionProfile> profile);
  bool report_is_stale() const { return report_is_stale_.load(std::memory_order_relaxed); }

 private:
  explicit Plugin(Options options);

  TfLiteStatus Prepare(TfLiteContext* context);
  TfLiteStatus ReplaceNodes(TfLiteContext* context, const TfLiteRegistration& kernel, const TfLiteIntArray& taken);
  bool AcceptNode(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node,
                  int index);
  void ReadTuning();
  // Lets XNNPACK plan with a tuning table, if there is one that holds here.
  void Tune(TfLiteContext* context, xnn_subgraph* subgraph);
  void SayNoTuning(const std::string& table, const std::string& why);
  void Leave(Graph* graph, int node, int builtin_code, const std::string& reason);
  std::shared_ptr<Graph> NewGraph(TfLiteContext* context);
  std::shared_ptr<ThreadPool> Threads(const TfLiteContext& context);
  Report MakeReport();
  void WriteProfiles(ThreadPool* threads);
  void Say(const Partition::Outcome& outcome) const;

  // Of the interface that an interpreter calls, and of TFLite's delegate.
  static TfLiteStatus OnPrepare(TfLiteContext* context, TfLiteDelegate* delegate);
  static void* OnInit(TfLiteContext* context, const char* buffer, size_t length);
  static TfLiteStatus OnPrepareKernel(TfLiteContext* context, TfLiteNode* node);
  static TfLiteStatus OnInvoke(TfLiteContext* context, TfLiteNode* node);
  static void OnFree(TfLiteContext* context, void* buffer);

  const Options options_;
  std::unique_ptr<const Tuning> tuning_;  // of the file that was named
  TfLiteDelegate delegate_;             // what the interpreter knows
  TfLiteDelegate* xnnpack_ = nullptr;   // TFLite's
  TfLiteRegistration kernel_{};         // TFLite's
  std::shared_ptr<Plugin> self_;        // until it is destroyed

  // What follows is guarded by Locks::delegates.
  std::map<TfLiteContext*, std::shared_ptr<Graph>> graphs_;
  std::vector<Partition*> partitions_;
  std::map<int, std::weak_ptr<ThreadPool>> pools_;
  Profiles profiles_;
  int threads_ = 1;
  bool warned_ = false;
  std::atomic<bool> report_is_stale_{false};
  std::atomic<bool> report_failed_{false};
  std::atomic<bool> profile_failed_{false};
  std::atomic<bool> tuning_failed_{false};
  std::atomic<bool> f16_failed_{false};
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_PLUGIN_H_
