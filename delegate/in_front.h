// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_IN_FRONT_H_
#define NMPACK_DELEGATE_IN_FRONT_H_

#include <unordered_set>

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// Those of the nodes a delegate would take that only bring to its place what nodes of the interpreter read, and follow
// from none that stay taken, as the shape of a mask. Taken, they would be a partition of their own.
std::unordered_set<int> FindMovesInFront(TfLiteContext* context, const TfLiteIntArray& taken);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_IN_FRONT_H_
