// SPDX-License-Identifier: BSD-3-Clause
#include "in_front.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tensorflow/lite/builtin_ops.h"

namespace nmpack {
namespace {

// The interpreter does these about as fast.
bool OnlyMoves(int32_t builtin_code) {
  return builtin_code == kTfLiteBuiltinReshape || builtin_code == kTfLiteBuiltinSlice ||
         builtin_code == kTfLiteBuiltinStridedSlice;
}

}  // namespace

std::unordered_set<int> FindMovesInFront(TfLiteContext* context, const TfLiteIntArray& taken) {
  std::unordered_set<int> stay(taken.data, taken.data + taken.size);
  std::unordered_map<int, int> writers;               // by tensor
  std::unordered_map<int, std::vector<int>> readers;  // by tensor
  std::unordered_map<int, const TfLiteNode*> moves;   // taken nodes that only move, by index
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return {};
  for (int i = 0; i < plan->size; i++) {
    const int index = plan->data[i];
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) return {};
    std::for_each_n(node->inputs->data, node->inputs->size, [&](int tensor) { readers[tensor].push_back(index); });
    std::for_each_n(node->outputs->data, node->outputs->size, [&](int tensor) { writers[tensor] = index; });
    if (stay.count(index) != 0 && OnlyMoves(registration->builtin_code)) moves[index] = node;
  }
  for (const auto& [index, node] : moves) stay.erase(index);
  const auto stays = [&](int index) { return stay.count(index) != 0; };
  // A node that must stay makes those stay that it reads from or is read by.
  for (bool changed = true; changed;) {
    changed = false;
    for (auto i = moves.begin(); i != moves.end();) {
      const TfLiteNode& node = *i->second;
      const auto is_written = [&](int tensor) { return writers.count(tensor) != 0 && stays(writers[tensor]); };
      const std::vector<int>& reading = readers[node.outputs->data[0]];
      if (reading.empty() || std::any_of(reading.begin(), reading.end(), stays) ||
          std::any_of(node.inputs->data, node.inputs->data + node.inputs->size, is_written)) {
        stay.insert(i->first);
        i = moves.erase(i);
        changed = true;
      } else {
        ++i;
      }
    }
  }
  std::unordered_set<int> result;
  for (const auto& [index, node] : moves) result.insert(index);
  return result;
}

}  // namespace nmpack
