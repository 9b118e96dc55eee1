// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_PROFILE_H_
#define NMPACK_DELEGATE_PROFILE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "operators.h"
#include "tensorflow/lite/core/c/common.h"

struct xnn_runtime;

namespace nmpack {

// What the operators of one runtime took, run by run: the last of them, so that it takes no more and no more memory.
class PartitionProfile {
 public:
  static constexpr size_t kMostRuns = 1000;

  // Of a partition as it is planned now: what runs, for which shapes of its inputs, on how many threads.
  PartitionProfile(const TfLiteContext& context, const TfLiteDelegateParams& params, const PartitionReport& partition,
                   int threads, std::vector<Operator> operators);

  // Takes over what the runtime's last run took, and how long the partition was busy with it.
  void Add(struct xnn_runtime* runtime, uint64_t nanoseconds);

  size_t num_runs() const { return num_runs_; }
  int threads() const { return threads_; }
  std::string ToJson() const;

 private:
  using Times = std::deque<uint64_t>;

  int subgraph_;
  std::vector<int> nodes_;
  std::vector<std::vector<int>> inputs_;  // shapes
  int threads_;
  std::vector<Operator> operators_;
  size_t num_runs_ = 0;
  Times times_;
  std::vector<Times> operator_times_;
  std::vector<uint64_t> last_;
};

// The profiles of runtimes that have gone; a model whose shapes change with every run makes one for each.
class Profiles {
 public:
  static constexpr size_t kMost = 1000;

  // Keeps a profile, unless nothing ran. What is beyond the first is counted.
  void Keep(std::unique_ptr<const PartitionProfile> profile);

  // What all threads that ran can do at most, measured: billions of operations a second by number of threads and element
  // type. Not known: absent.
  std::map<std::pair<int, std::string>, double> peaks;

  std::string ToJson() const;

 private:
  std::vector<std::unique_ptr<const PartitionProfile>> kept_;
  size_t num_dropped_ = 0;
};

// Monotonic.
uint64_t Nanoseconds();

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_PROFILE_H_
