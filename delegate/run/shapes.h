// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_SHAPES_H_
#define NMPACK_DELEGATE_RUN_SHAPES_H_

#include <vector>

#include "arguments.h"
#include "files.h"
#include "runtime.h"

namespace nmpack {

// Resizes inputs whose sizes `model` leaves open, before anything is allocated. Of inputs with one name, the first
// that has no shape yet takes the next one. Throws Failure where a shape does not fit.
void Resize(const TfLite& tflite, TfLiteInterpreter* interpreter, const Mapping& model,
            const std::vector<InputShape>& shapes);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_RUN_SHAPES_H_
