// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_LAYERS_H_
#define NMPACK_DELEGATE_LAYERS_H_

#include <cstdint>
#include <string>

#include "options.h"
#include "report.h"
#include "tensorflow/lite/core/c/common.h"

struct pthreadpool;
struct xnn_runtime;

namespace nmpack {

// The flags of XNNPACK's runtime that stand for the options.
uint32_t RuntimeFlags(NMMode mode, Layout layout);

// Asks a new runtime what became of the convolutions and fully connected layers among the model's nodes in `params`, whose
// tensors are its values `value_ids`.
bool ReadLayers(TfLiteContext* context, const TfLiteDelegateParams& params, struct xnn_runtime* runtime,
                const uint32_t* value_ids, PartitionReport* partition);

// Whether RISC-V Vector kernels run and how that was found, in a sentence; empty on other processors.
std::string RiscvVector();

// Makes a runtime go on with another thread pool of as many threads.
bool ChangeThreads(struct xnn_runtime* runtime, struct pthreadpool* threads);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_LAYERS_H_
