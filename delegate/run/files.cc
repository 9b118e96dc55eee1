// SPDX-License-Identifier: BSD-3-Clause
#include "files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "../report.h"
#include "failure.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace nmpack {
namespace {

Failure Cannot(const char* what, const std::string& path) {
  return Failure(std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno));
}

// The names of numpy, which reads the files.
const char* TypeName(TfLiteType type) {
  switch (type) {
    case kTfLiteFloat32:
      return "float32";
    case kTfLiteFloat16:
      return "float16";
    case kTfLiteFloat64:
      return "float64";
    case kTfLiteInt8:
      return "int8";
    case kTfLiteInt16:
      return "int16";
    case kTfLiteInt32:
      return "int32";
    case kTfLiteInt64:
      return "int64";
    case kTfLiteUInt8:
      return "uint8";
    case kTfLiteUInt16:
      return "uint16";
    case kTfLiteUInt32:
      return "uint32";
    case kTfLiteUInt64:
      return "uint64";
    case kTfLiteBool:
      return "bool";
    default:
      return nullptr;
  }
}

void Write(const std::string& path, const std::string& content) {
  const std::string error = WriteWhole(path, content);
  if (!error.empty()) {
    throw Failure(error);
  }
}

}  // namespace

Mapping MapFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) {
    throw Cannot("read", path);
  }
  if (!S_ISREG(status.st_mode) || status.st_size == 0) {
    close(file);
    throw Failure("expected a file with data at '" + path + "', found " +
                  (S_ISREG(status.st_mode) ? "an empty one" : "something else"));
  }
  Mapping result;
  result.size = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, result.size, PROT_READ, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED) {
    throw Cannot("map", path);
  }
  close(file);
  result.data = data;
  return result;
}

Mapping MapModel(const std::string& path) {
  const Mapping file = MapFile(path);
  flatbuffers::Verifier verifier(static_cast<const uint8_t*>(file.data), file.size);
  if (!tflite::VerifyModelBuffer(verifier)) {
    throw Failure("expected a TFLite model in '" + path + "', found a file that is not one, or is cut off or damaged");
  }
  return file;
}

void WriteOutputs(const TfLite& tflite, const TfLiteInterpreter* interpreter, const std::string& folder) {
  if (mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) {
    throw Cannot("create the folder", folder);
  }
  const std::string summary = folder + "/outputs.json";
  if (unlink(summary.c_str()) != 0 && errno != ENOENT) {
    throw Cannot("replace", summary);
  }
  std::string json = "{\"schema\":1,\"outputs\":[";
  const int count = tflite.TfLiteInterpreterGetOutputTensorCount(interpreter);
  for (int i = 0; i < count; i++) {
    const TfLiteTensor* tensor = tflite.TfLiteInterpreterGetOutputTensor(interpreter, i);
    const char* type = TypeName(tflite.TfLiteTensorType(tensor));
    const void* data = tflite.TfLiteTensorData(tensor);
    const size_t size = tflite.TfLiteTensorByteSize(tensor);
    if (type == nullptr || (data == nullptr && size != 0)) {
      throw Failure("expected numbers in output #" + std::to_string(i) + ", found another type or no data");
    }
    const std::string name = "output-" + std::to_string(i) + ".bin";
    Write(folder + "/" + name, std::string(static_cast<const char*>(data), size));
    const char* tensor_name = tflite.TfLiteTensorName(tensor);
    json += std::string(i == 0 ? "\n" : ",\n") + "{\"name\":" + JsonString(tensor_name ? tensor_name : "") +
            ",\"dtype\":\"" + type + "\",\"shape\":[";
    for (int d = 0; d < tflite.TfLiteTensorNumDims(tensor); d++) {
      json += (d == 0 ? "" : ",") + std::to_string(tflite.TfLiteTensorDim(tensor, d));
    }
    json += "],\"file\":\"" + name + "\"}";
  }
  Write(summary, json + "]}\n");
}

}  // namespace nmpack
