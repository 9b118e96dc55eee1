// SPDX-License-Identifier: BSD-3-Clause
#include "shapes.h"

#include <string>

#include "failure.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace nmpack {
namespace {

std::string Text(const std::vector<int>& sizes) {
  std::string text;
  for (size_t i = 0; i < sizes.size(); i++) {
    text += (i == 0 ? "" : "x") + (sizes[i] == -1 ? std::string("?") : std::to_string(sizes[i]));
  }
  return text;
}

// The shape of an input, -1 where the model leaves a size open.
std::vector<int> StatedShape(const TfLite& tflite, const TfLiteTensor* tensor, const Mapping& model, int input) {
  std::vector<int> shape;
  for (int i = 0; i < tflite.TfLiteTensorNumDims(tensor); i++) shape.push_back(tflite.TfLiteTensorDim(tensor, i));
  // The interpreter has taken the model, so these are there.
  const tflite::SubGraph* graph = tflite::GetModel(model.data)->subgraphs()->Get(0);
  const int index = graph->inputs()->Get(static_cast<flatbuffers::uoffset_t>(input));
  const auto* stated = graph->tensors()->Get(static_cast<flatbuffers::uoffset_t>(index))->shape_signature();
  if (stated != nullptr && stated->size() == shape.size()) {
    for (flatbuffers::uoffset_t i = 0; i < stated->size(); i++) {
      if (stated->Get(i) == -1) shape[i] = -1;
    }
  }
  return shape;
}

void RequireOpen(const std::vector<int>& stated, const std::vector<int>& sizes, const std::string& name) {
  bool fits = stated.size() == sizes.size();
  for (size_t i = 0; fits && i < sizes.size(); i++) fits = stated[i] == -1 || stated[i] == sizes[i];
  if (!fits) {
    throw Failure("--shape: expected " + Text(stated) + " for the input '" + name + "', in which only ? is open, got " +
                  Text(sizes));
  }
}

}  // namespace

void Resize(const TfLite& tflite, TfLiteInterpreter* interpreter, const Mapping& model,
            const std::vector<InputShape>& shapes) {
  const int count = tflite.TfLiteInterpreterGetInputTensorCount(interpreter);
  std::vector<std::string> names;
  std::string listed;
  for (int i = 0; i < count; i++) {
    const char* name = tflite.TfLiteTensorName(tflite.TfLiteInterpreterGetInputTensor(interpreter, i));
    names.emplace_back(name != nullptr ? name : "");
    listed += (i == 0 ? "'" : ", '") + names.back() + "'";
  }
  std::vector<bool> done(names.size(), false);
  for (const InputShape& shape : shapes) {
    if (!shape.named && names.size() != 1) {
      throw Failure("--shape: expected NAME=SIZES with one of the inputs " + listed + ", got " + Text(shape.sizes));
    }
    size_t place = 0;
    while (place < names.size() && (done[place] || (shape.named && names[place] != shape.name))) place++;
    if (place == names.size()) {
      throw Failure("--shape: expected a shape of each of the inputs " + listed + " at most, got another" +
                    (shape.named ? " of '" + shape.name + "'" : ""));
    }
    done[place] = true;
    const int input = static_cast<int>(place);
    const TfLiteTensor* tensor = tflite.TfLiteInterpreterGetInputTensor(interpreter, input);
    RequireOpen(StatedShape(tflite, tensor, model, input), shape.sizes, names[place]);
    if (tflite.TfLiteInterpreterResizeInputTensor(interpreter, input, shape.sizes.data(),
                                                  static_cast<int>(shape.sizes.size())) != kTfLiteOk) {
      throw Failure("--shape: the interpreter does not resize the input '" + names[place] + "' to " +
                    Text(shape.sizes));
    }
  }
}

}  // namespace nmpack
