// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_FILES_H_
#define NMPACK_DELEGATE_RUN_FILES_H_

#include <cstddef>
#include <string>

#include "runtime.h"

namespace nmpack {

// A file's content, mapped read-only until the program ends.
struct Mapping {
  const void* data = nullptr;
  size_t size = 0;
};

Mapping MapFile(const std::string& path);

// The same, for a file that must be a TFLite model as far as its structure tells.
Mapping MapModel(const std::string& path);

// Writes all output tensors and then outputs.json. One of an earlier run is removed first, so that there
// is one only where every output is whole.
void WriteOutputs(const TfLite& tflite, const TfLiteInterpreter* interpreter, const std::string& folder);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_RUN_FILES_H_
