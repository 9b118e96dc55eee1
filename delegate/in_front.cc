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
  // What touches a taken node that does more than move stays with it: the writers of what a node reads, and the readers of
  // what it writes. An output that nobody reads is the graph's.
  std::vector<int> pending;
  for (const int index : stay) {
    if (moves.count(index) == 0) pending.push_back(index);
  }
  for (const auto& [index, node] : moves) {
    if (readers.count(node->outputs->data[0]) == 0) pending.push_back(index);
  }
  while (!pending.empty()) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, pending.back(), &node, &registration) != kTfLiteOk) return {};
    moves.erase(pending.back());
    pending.pop_back();
    const auto keep = [&](int index) {
      if (moves.erase(index) != 0) pending.push_back(index);
    };
    std::for_each_n(node->inputs->data, node->inputs->size, [&](int tensor) {
      if (const auto writer = writers.find(tensor); writer != writers.end()) keep(writer->second);
    });
    std::for_each_n(node->outputs->data, node->outputs->size, [&](int tensor) {
      if (const auto found = readers.find(tensor); found != readers.end()) {
        std::for_each(found->second.begin(), found->second.end(), keep);
        readers.erase(found);
      }
    });
  }
  std::unordered_set<int> result;
  for (const auto& [index, node] : moves) result.insert(index);
  return result;
}

}  // namespace nmpack
