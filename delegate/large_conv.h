// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_LARGE_CONV_H_
#define NMPACK_DELEGATE_LARGE_CONV_H_

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// Whether a node is a convolution for which the interpreter's kernel may ask for a buffer of 2^31 elements or more, of
// all windows of its images. Newer kernels refuse it, older ones take gigabytes; XNNPACK has no such buffer.
bool IsLargeConv(const TfLiteContext& context, const TfLiteRegistration& registration, const TfLiteNode& node);

// Gives the output of such a node its shape, which is all that the kernel does for others when it is prepared.
TfLiteStatus ShapeLargeConv(TfLiteContext* context, const TfLiteNode& node);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_LARGE_CONV_H_
