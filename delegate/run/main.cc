// SPDX-License-Identifier: BSD-3-Clause
//
// nmpack-run: loads a model and a delegate, reads inputs from files, runs, writes outputs. The interpreter
// is looked up when the program starts, so that one binary serves a board and QEMU.
#include <cstdarg>
#include <cstdio>
#include <string>
#include <vector>

#include "arguments.h"
#include "failure.h"
#include "files.h"
#include "region.h"
#include "runtime.h"
#include "shapes.h"
#include "times.h"

namespace nmpack {
namespace {

std::string first_message;  // of the interpreter, which reports from the general to the less so

void KeepMessage(void*, const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof(text), format, arguments);
  if (first_message.empty()) {
    first_message = text;
  }
}

Failure Said(const std::string& what) {
  return Failure(first_message.empty() ? what : what + ": " + first_message);
}

void Check(TfLiteStatus status, const char* what) {
  if (status != kTfLiteOk) {
    throw Said(std::string("cannot ") + what);
  }
}

// A model may name no tensor as an input or output: interpreters take that, and have none then.
void RequireTensors(const TfLite& tflite, const TfLiteInterpreter* interpreter) {
  const auto fail = [](const char* what, int place) {
    throw Failure(std::string("expected a tensor as ") + what + " #" + std::to_string(place) +
                  " of the model, found none");
  };
  for (int i = 0; i < tflite.TfLiteInterpreterGetInputTensorCount(interpreter); i++) {
    if (tflite.TfLiteInterpreterGetInputTensor(interpreter, i) == nullptr) fail("input", i);
  }
  for (int i = 0; i < tflite.TfLiteInterpreterGetOutputTensorCount(interpreter); i++) {
    if (tflite.TfLiteInterpreterGetOutputTensor(interpreter, i) == nullptr) fail("output", i);
  }
}

void ReadInputs(const TfLite& tflite, const TfLiteInterpreter* interpreter, const std::vector<std::string>& files) {
  const int count = tflite.TfLiteInterpreterGetInputTensorCount(interpreter);
  if (!files.empty() && files.size() != static_cast<size_t>(count)) {
    throw Failure("expected --input FILE for each of the model's " + std::to_string(count) + " inputs or for none, got " +
                  std::to_string(files.size()));
  }
  for (int i = 0; i < count; i++) {
    TfLiteTensor* tensor = tflite.TfLiteInterpreterGetInputTensor(interpreter, i);
    const size_t size = tflite.TfLiteTensorByteSize(tensor);
    if (files.empty()) {
      Check(tflite.TfLiteTensorCopyFromBuffer(tensor, std::vector<char>(size + 1).data(), size), "set an input");
      continue;
    }
    const std::string& path = files[static_cast<size_t>(i)];
    const Mapping file = MapFile(path);
    if (file.size != size) {
      throw Failure("expected " + std::to_string(size) + " bytes in '" + path + "' for input #" + std::to_string(i) +
                    ", got " + std::to_string(file.size));
    }
    Check(tflite.TfLiteTensorCopyFromBuffer(tensor, file.data, size), "set an input");
  }
}

void Run(const Arguments& arguments) {
  const double start = Microseconds();
  const Mapping file = MapModel(arguments.graph);
  const TfLite tflite = LoadTfLite(arguments.runtime);
  TfLiteModel* model = tflite.TfLiteModelCreate(file.data, file.size);
  if (model == nullptr) {
    throw Failure("the interpreter does not take '" + arguments.graph + "' as a model");
  }
  TfLiteInterpreterOptions* options = tflite.TfLiteInterpreterOptionsCreate();
  tflite.TfLiteInterpreterOptionsSetNumThreads(options, arguments.num_threads);
  tflite.TfLiteInterpreterOptionsSetErrorReporter(options, KeepMessage, nullptr);

  DelegatePlugin plugin{};
  TfLiteDelegate* delegate = nullptr;
  if (!arguments.delegate.empty()) {
    auto pairs = arguments.delegate_options;
    bool threads = false;
    for (const auto& pair : pairs) threads = threads || pair.first == "num_threads";
    if (!threads) pairs.emplace_back("num_threads", std::to_string(arguments.num_threads));
    plugin = LoadDelegatePlugin(arguments.delegate);
    delegate = CreateDelegate(plugin, pairs);
    tflite.TfLiteInterpreterOptionsAddDelegate(options, delegate);
  }
  TfLiteInterpreter* interpreter = tflite.TfLiteInterpreterCreate(model, options);
  if (interpreter == nullptr) {
    throw Said("the interpreter cannot be created for '" + arguments.graph + "'");
  }
  RequireTensors(tflite, interpreter);
  Resize(tflite, interpreter, file, arguments.shapes);
  Check(tflite.TfLiteInterpreterAllocateTensors(interpreter), "allocate the model's tensors");
  const double load = Microseconds() - start;
  ReadInputs(tflite, interpreter, arguments.inputs);

  std::vector<double> times;
  for (int run = -arguments.warmup_runs; run < arguments.num_runs; run++) {
    const double before = Microseconds();
    TfLiteStatus status;
    if (run < 0) {
      status = tflite.TfLiteInterpreterInvoke(interpreter);
    } else {
      NMPACK_REGION_BEGIN(0);
      status = tflite.TfLiteInterpreterInvoke(interpreter);
      NMPACK_REGION_END(0);
      times.push_back(Microseconds() - before);
    }
    Check(status, "run the model");
  }
  if (!arguments.output_dir.empty()) {
    WriteOutputs(tflite, interpreter, arguments.output_dir);
  }
  if (arguments.print_times) std::fputs(TimesAsText(times).c_str(), stdout);
  if (arguments.json) std::fputs(TimesAsJson(times, load).c_str(), stdout);

  tflite.TfLiteInterpreterDelete(interpreter);
  if (delegate != nullptr) plugin.destroy(delegate);
  tflite.TfLiteInterpreterOptionsDelete(options);
  tflite.TfLiteModelDelete(model);
}

}  // namespace
}  // namespace nmpack

int main(int argc, char** argv) {
  try {
    const nmpack::Arguments arguments = nmpack::ParseArguments(argc, argv);
    if (arguments.help) {
      std::fputs(nmpack::kHelp, stdout);
    } else {
      nmpack::Run(arguments);
    }
    if (std::fflush(stdout) != 0) {
      throw nmpack::Failure("cannot write to standard output");
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nmpack-run: %s\n", error.what());
    return 1;
  }
}
