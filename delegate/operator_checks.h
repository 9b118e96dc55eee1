// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_OPERATOR_CHECKS_H_
#define NMPACK_DELEGATE_OPERATOR_CHECKS_H_

#include <cstdint>

#include "tensorflow/lite/core/c/common.h"

namespace nmpack {

// Null, or why a node of this operator must not be delegated. Its tensors are known to exist, to have
// positive dimensions whose product fits 31 bits, and to hold as much constant data as they say.
// Unless shapes are known, those of tensors that are not constants decide nothing.
const char* RefuseOperator(const TfLiteContext& context, int32_t builtin_code, const TfLiteNode& node,
                           bool shapes_known);

// Null, or what is wrong with the sparse encoding of `tensor`, whose dense shape is `dense_dims`.
const char* RefuseSparsity(const TfLiteTensor& tensor, const TfLiteIntArray& dense_dims);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_OPERATOR_CHECKS_H_
