// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_OPERATORS_H_
#define NMPACK_DELEGATE_OPERATORS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report.h"
#include "tensorflow/lite/core/c/common.h"

struct xnn_runtime;

namespace nmpack {

// An operator of a runtime and the model's nodes that it computes.
struct Operator {
  std::string type;  // XNNPACK's name of it
  std::string kind;  // of its micro-kernel, or empty
  uint64_t kernel = 0;  // where the micro-kernel is in the file of this library; 0: not known
  std::string name;  // of the tensor that it writes in the model, or reads if it is a conversion
  std::vector<int> nodes;  // indices of the model's operators
  std::optional<Layer> layer;  // of a convolution: one of the partition's
  bool conversion = false;  // of an image's layout
  uint64_t multiplications = 0;  // by weights, if none of them were zero
};

// Whether there is an XNNPACK that tells the time of operators.
bool CanProfile();

// The operators of a new runtime that is profiled, in the order in which they run; arguments are those of ReadLayers, which
// has been called.
bool ReadOperators(TfLiteContext* context, const TfLiteDelegateParams& params, struct xnn_runtime* runtime,
                   const uint32_t* value_ids, const PartitionReport& partition, std::vector<Operator>* operators);

// What each took in the last run.
bool ReadTimes(struct xnn_runtime* runtime, size_t num_operators, std::vector<uint64_t>* nanoseconds);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_OPERATORS_H_
