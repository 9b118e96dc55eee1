// SPDX-License-Identifier: BSD-3-Clause
#include "operators.h"

#include <link.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "tensorflow/lite/builtin_ops.h"
#include "xnnpack.h"
#if NMPACK_XNNPACK_HAS_NM
#include "xnnpack-nm-profile.h"
#endif

namespace nmpack {

#if NMPACK_XNNPACK_HAS_NM

namespace {

using Profiles = std::vector<xnn_nm_operator_profile>;

bool Read(xnn_runtime* runtime, size_t capacity, Profiles* profiles) {
  size_t count = capacity;
  profiles->resize(capacity);
  if (xnn_get_runtime_nm_operator_profiles(runtime, &count, profiles->data()) != xnn_status_success) return false;
  profiles->resize(count);
  return true;
}

// Where code in memory comes from in the file that was loaded, or 0.
uint64_t FileOffset(uintptr_t address) {
  struct Search {
    uintptr_t address;
    uint64_t offset;
  } search{address, 0};
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* data) {
        auto* search = static_cast<Search*>(data);
        for (int i = 0; i < object->dlpi_phnum; i++) {
          const auto& segment = object->dlpi_phdr[i];
          const uintptr_t start = object->dlpi_addr + segment.p_vaddr;
          if (segment.p_type != PT_LOAD || search->address < start || search->address - start >= segment.p_filesz) continue;
          search->offset = search->address - start + segment.p_offset;
          return 1;
        }
        return 0;
      },
      &search);
  return search.offset;
}

// The graph as XNNPACK runs it, and as the model has it.
class Join {
 public:
  Join(TfLiteContext* context, const TfLiteDelegateParams& params, const uint32_t* value_ids, const Profiles& profiles)
      : context_(context), value_ids_(value_ids), profiles_(profiles) {
    for (size_t i = 0; i < profiles.size(); i++) {
      for (uint32_t o = 0; o < profiles[i].num_outputs; o++) writers_[profiles[i].outputs[o]] = i;
    }
    const TfLiteIntArray& nodes = *params.nodes_to_replace;
    std::for_each_n(nodes.data, nodes.size, [this](int index) { Add(index); });
  }

  // Those that run: constants are unpacked beforehand.
  const std::vector<int>& nodes() const { return nodes_; }

  // The operator that computes a node, or -1. What is fused into an operator writes nothing of its own; what reads it does,
  // or what reads that.
  int Find(int index) const {
    for (size_t step = 0; step <= nodes_.size(); step++) {
      TfLiteNode* node = nullptr;
      TfLiteRegistration* registration = nullptr;
      if (context_->GetNodeAndRegistration(context_, index, &node, &registration) != kTfLiteOk) return -1;
      const int output = node->outputs->data[0];
      if (const int writer = Writer(value_ids_[output]); writer >= 0) return writer;
      const auto reader = readers_.find(output);
      if (reader == readers_.end()) return -1;
      index = reader->second;
    }
    return -1;
  }

  // Of the tensor that it writes, or if it is a conversion of the one it reads, if there is one.
  std::string Name(const xnn_nm_operator_profile& profile) const {
    auto found = tensors_.find(profile.outputs[0]);
    if (found == tensors_.end() && profile.is_conversion) found = tensors_.find(profile.inputs[0]);
    if (found == tensors_.end()) return "";
    const char* name = context_->tensors[found->second].name;
    return name == nullptr || *name == '\0' ? "tensor #" + std::to_string(found->second) : name;
  }

  // The operator that reads what another one writes, or -1.
  int Reader(size_t writer) const {
    for (size_t i = writer + 1; i < profiles_.size(); i++) {
      const uint32_t* inputs = profiles_[i].inputs;
      const uint32_t* end = inputs + profiles_[i].num_inputs;
      if (std::find(inputs, end, profiles_[writer].outputs[0]) != end) return static_cast<int>(i);
    }
    return -1;
  }

 private:
  // Tensors that no operator reads or writes, as shapes and what constants are unpacked from, have no values.
  void Add(int index) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context_->GetNodeAndRegistration(context_, index, &node, &registration) != kTfLiteOk) return;
    const int code = registration->builtin_code;
    const int* inputs = node->inputs->data;
    const int first = node->inputs->size == 0 ? -1 : inputs[0];
    if (first >= 0 && (code == kTfLiteBuiltinDequantize || code == kTfLiteBuiltinDensify)) {
      if (context_->tensors[first].allocation_type == kTfLiteMmapRo || unpacked_.count(first) != 0) {
        unpacked_.insert(node->outputs->data[0]);
        return;
      }
    }
    const TfLiteIntArray& outputs = *node->outputs;
    if (outputs.size == 0 || std::any_of(outputs.data, outputs.data + outputs.size, [](int t) { return t < 0; })) return;
    nodes_.push_back(index);
    std::for_each_n(outputs.data, outputs.size, [this](int t) { tensors_.emplace(value_ids_[t], t); });
    std::for_each_n(inputs, node->inputs->size, [&](int t) { readers_.emplace(t, index); });
    if (first >= 0 && code != kTfLiteBuiltinSplit && code != kTfLiteBuiltinTransposeConv) {
      tensors_.emplace(value_ids_[first], first);
    }
  }

  // Which operator computes a value: one that only brings it to its layout does not.
  int Writer(uint32_t value) const {
    for (size_t step = 0; step <= profiles_.size(); step++) {
      const auto found = writers_.find(value);
      if (found == writers_.end()) return -1;
      if (!profiles_[found->second].is_conversion) return static_cast<int>(found->second);
      value = profiles_[found->second].inputs[0];
    }
    return -1;
  }

  TfLiteContext* const context_;
  const uint32_t* const value_ids_;
  const Profiles& profiles_;
  std::vector<int> nodes_;
  std::unordered_set<int> unpacked_;              // tensors
  std::unordered_map<uint32_t, size_t> writers_;  // of values
  std::unordered_map<uint32_t, int> tensors_;     // that values are
  std::unordered_map<int, int> readers_;          // of tensors, the first node of each
};

}  // namespace

bool CanProfile() { return true; }

bool ReadOperators(TfLiteContext* context, const TfLiteDelegateParams& params, xnn_runtime* runtime,
                   const uint32_t* value_ids, const PartitionReport& partition, std::vector<Operator>* operators) {
  size_t count = 0;
  Profiles profiles;
  if (xnn_get_runtime_nm_operator_profiles(runtime, &count, nullptr) != xnn_status_success ||
      !Read(runtime, count, &profiles)) {
    return false;
  }
  std::unordered_map<uint32_t, const Layer*> layers;
  for (const Layer& layer : partition.layers) layers[layer.node_id] = &layer;
  const Join join(context, params, value_ids, profiles);
  operators->clear();
  for (const xnn_nm_operator_profile& profile : profiles) {
    Operator one;
    one.type = profile.type;
    one.kind = profile.kind == nullptr ? "" : profile.kind;
    one.kernel = profile.ukernel == 0 ? 0 : FileOffset(profile.ukernel);
    const auto layer = layers.find(profile.node_id);
    if (layer != layers.end()) one.layer = *layer->second;
    one.name = one.layer ? one.layer->name : join.Name(profile);
    one.conversion = profile.is_conversion;
    one.multiplications = profile.multiplications;
    operators->push_back(std::move(one));
  }
  for (const int node : join.nodes()) {
    if (const int found = join.Find(node); found >= 0) (*operators)[static_cast<size_t>(found)].nodes.push_back(node);
  }
  // Two operators may compute one node: what an addition clamps is another operator.
  for (size_t i = operators->size(); i-- > 0;) {
    Operator& one = (*operators)[i];
    if (!one.nodes.empty() || one.conversion) continue;
    if (const int reader = join.Reader(i); reader >= 0) {
      one.nodes = (*operators)[static_cast<size_t>(reader)].nodes;
      if (one.name.empty()) one.name = (*operators)[static_cast<size_t>(reader)].name;
    }
  }
  return true;
}

bool ReadTimes(xnn_runtime* runtime, size_t num_operators, std::vector<uint64_t>* nanoseconds) {
  Profiles profiles;
  if (!Read(runtime, num_operators, &profiles) || profiles.size() != num_operators) return false;
  nanoseconds->clear();
  for (const xnn_nm_operator_profile& profile : profiles) nanoseconds->push_back(profile.nanoseconds);
  return true;
}

#else  // An XNNPACK without the N:M operator, to compare with.

bool CanProfile() { return false; }

bool ReadOperators(TfLiteContext*, const TfLiteDelegateParams&, xnn_runtime*, const uint32_t*, const PartitionReport&,
                   std::vector<Operator>*) {
  return false;
}

bool ReadTimes(xnn_runtime*, size_t, std::vector<uint64_t>*) { return false; }

#endif

}  // namespace nmpack
