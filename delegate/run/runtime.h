// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_RUNTIME_H_
#define NMPACK_DELEGATE_RUN_RUNTIME_H_

#include <string>
#include <utility>
#include <vector>

#include "tensorflow/lite/core/c/c_api.h"

namespace nmpack {

// The part of TFLite's C interface that is used here.
#define NMPACK_TFLITE_FUNCTIONS(X)           \
  X(TfLiteInterpreterAllocateTensors)        \
  X(TfLiteInterpreterCreate)                 \
  X(TfLiteInterpreterDelete)                 \
  X(TfLiteInterpreterGetInputTensor)         \
  X(TfLiteInterpreterGetInputTensorCount)    \
  X(TfLiteInterpreterGetOutputTensor)        \
  X(TfLiteInterpreterGetOutputTensorCount)   \
  X(TfLiteInterpreterInvoke)                 \
  X(TfLiteInterpreterOptionsAddDelegate)     \
  X(TfLiteInterpreterOptionsCreate)          \
  X(TfLiteInterpreterOptionsDelete)          \
  X(TfLiteInterpreterOptionsSetErrorReporter) \
  X(TfLiteInterpreterOptionsSetNumThreads)   \
  X(TfLiteInterpreterResizeInputTensor)      \
  X(TfLiteModelCreate)                       \
  X(TfLiteModelDelete)                       \
  X(TfLiteTensorByteSize)                    \
  X(TfLiteTensorCopyFromBuffer)              \
  X(TfLiteTensorData)                        \
  X(TfLiteTensorDim)                         \
  X(TfLiteTensorName)                        \
  X(TfLiteTensorNumDims)                     \
  X(TfLiteTensorType)                        \
  X(TfLiteVersion)

struct TfLite {
#define NMPACK_DECLARE(name) decltype(&::name) name;
  NMPACK_TFLITE_FUNCTIONS(NMPACK_DECLARE)
#undef NMPACK_DECLARE
};

// Finds the functions in the library at `path`, or in the first of the usual ones if it is empty. The
// library stays loaded. Throws Failure.
TfLite LoadTfLite(const std::string& path);

struct DelegatePlugin {
  TfLiteDelegate* (*create)(const char* const* keys, const char* const* values, size_t count,
                            void (*report_error)(const char*));
  void (*destroy)(TfLiteDelegate* delegate);
};

DelegatePlugin LoadDelegatePlugin(const std::string& path);

// Throws Failure with the plugin's own words.
TfLiteDelegate* CreateDelegate(const DelegatePlugin& plugin,
                               const std::vector<std::pair<std::string, std::string>>& options);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_RUN_RUNTIME_H_
