// SPDX-License-Identifier: BSD-3-Clause
#include "profile.h"

#include <time.h>

#include <utility>

namespace nmpack {
namespace {

template <typename Items, typename Text>
std::string List(const Items& items, const char* separator, Text text) {
  std::string result = "[";
  for (const auto& item : items) result += (result.size() == 1 ? "" : separator) + text(item);
  return result + ']';
}

template <typename Items>
std::string Numbers(const Items& items) {
  return List(items, ",", [](auto number) { return std::to_string(number); });
}

void Append(std::deque<uint64_t>* times, uint64_t nanoseconds) {
  times->push_back(nanoseconds);
  if (times->size() > PartitionProfile::kMostRuns) times->pop_front();
}

std::string OperatorToJson(const Operator& one) {
  std::string result = "{\"type\":" + JsonString(one.type) + ",\"kind\":" + JsonString(one.kind) +
                       ",\"kernel\":" + std::to_string(one.kernel) + ",\"name\":" + JsonString(one.name) +
                       ",\"nodes\":" + Numbers(one.nodes) + ",\"conversion\":" + (one.conversion ? "true" : "false") +
                       ",\"multiplications\":" + std::to_string(one.multiplications);
  if (one.layer) result += ",\"layer\":" + ToJson(*one.layer);
  return result;
}

}  // namespace

uint64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

PartitionProfile::PartitionProfile(const TfLiteContext& context, const TfLiteDelegateParams& params,
                                   const PartitionReport& partition, int threads, std::vector<Operator> operators)
    : subgraph_(partition.subgraph),
      nodes_(partition.nodes),
      threads_(threads),
      operators_(std::move(operators)),
      operator_times_(operators_.size()) {
  for (int i = 0; i < params.input_tensors->size; i++) {
    const TfLiteTensor& tensor = context.tensors[params.input_tensors->data[i]];
    if (tensor.allocation_type == kTfLiteMmapRo || tensor.dims == nullptr) continue;
    inputs_.emplace_back(tensor.dims->data, tensor.dims->data + tensor.dims->size);
  }
}

void PartitionProfile::Add(xnn_runtime* runtime, uint64_t nanoseconds) {
  if (!ReadTimes(runtime, operators_.size(), &last_)) return;
  num_runs_ += 1;
  Append(&times_, nanoseconds);
  for (size_t i = 0; i < operators_.size(); i++) Append(&operator_times_[i], last_[i]);
}

std::string PartitionProfile::ToJson() const {
  std::string result = "{\"subgraph\":" + std::to_string(subgraph_) + ",\"nodes\":" + Numbers(nodes_) +
                       ",\"inputs\":" + List(inputs_, ",", [](const auto& shape) { return Numbers(shape); }) +
                       ",\"threads\":" + std::to_string(threads_) + ",\"runs\":" + std::to_string(num_runs_) +
                       ",\"nanoseconds\":" + Numbers(times_) + ",\"operators\":[";
  for (size_t i = 0; i < operators_.size(); i++) {
    result += (i == 0 ? "\n" : ",\n") + OperatorToJson(operators_[i]) +
              ",\"nanoseconds\":" + Numbers(operator_times_[i]) + '}';
  }
  return result + "]}";
}

void Profiles::Keep(std::unique_ptr<const PartitionProfile> profile) {
  if (profile == nullptr || profile->num_runs() == 0) return;
  if (kept_.size() < kMost) {
    kept_.push_back(std::move(profile));
  } else {
    num_dropped_ += 1;
  }
}

std::string Profiles::ToJson() const {
  const auto peak = [](const auto& item) {
    return "{\"threads\":" + std::to_string(item.first.first) + ",\"type\":" + JsonString(item.first.second) +
           ",\"megaflops\":" + std::to_string(static_cast<uint64_t>(1e3 * item.second)) + '}';
  };
  return "{\"schema\":1,\"dropped\":" + std::to_string(num_dropped_) + ",\"peaks\":" + List(peaks, ",", peak) +
         ",\"partitions\":" + List(kept_, ",\n", [](const auto& kept) { return kept->ToJson(); }) + "}\n";
}

}  // namespace nmpack
