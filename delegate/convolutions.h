// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_CONVOLUTIONS_H_
#define NMPACK_DELEGATE_CONVOLUTIONS_H_

#include <cstdint>

#include "options.h"
#include "report.h"
#include "tensorflow/lite/core/c/common.h"

struct xnn_runtime;

namespace nmpack {

// The flags of XNNPACK's runtime that stand for the options.
uint32_t RuntimeFlags(NMMode mode, Layout layout);

// Asks a new runtime what became of the convolutions of the model's nodes in `params`.
bool ReadConvolutions(TfLiteContext* context, const TfLiteDelegateParams& params, struct xnn_runtime* runtime,
                      Partition* partition);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_CONVOLUTIONS_H_
