// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_SUBGRAPH_INDEX_H_
#define NMPACK_DELEGATE_SUBGRAPH_INDEX_H_

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// The index in the model of the subgraph that a context belongs to. To be called before anything else is asked of a
// context that waits for a delegate to choose.
int SubgraphIndex(TfLiteContext* context);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_SUBGRAPH_INDEX_H_
