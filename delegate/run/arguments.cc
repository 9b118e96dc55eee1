// SPDX-License-Identifier: BSD-3-Clause
#include "arguments.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "failure.h"

namespace nmpack {

const char kHelp[] =
    R"(Runs a TFLite model in the interpreter of a shared library, with or without a delegate.

  nmpack-run --graph MODEL.tflite --delegate libnmpack_delegate.so --input image.bin --output-dir out

  --graph FILE             the model
  --delegate FILE          a delegate plugin; without it the interpreter's own kernels run
  --delegate-options TEXT  key:value pairs for it, separated by ';', such as 'nm:force;verbose:1'
  --profile FILE           has the delegate write the time of each of its operators there, as its option 'profile'
                           does. Under an emulator these times mean nothing: use nmpack profile --target riscv64
  --no-delegate            says that no delegate is wanted, as is the default
  --input FILE             raw little-endian values of an input tensor; once for each, in the model's
                           order. None at all: every input is zero
  --shape [NAME=]SIZES     shape of an input whose sizes the model leaves open, as 1x224x224x3; with the name of
                           the input where there are several
  --output-dir DIR         where to write the outputs, output-0.bin and so on, and outputs.json, which
                           has their names, types and shapes and is there only if all of them are
  --num-threads N          threads of the interpreter, and of the delegate unless its options say
                           another num_threads (1 to 256, default 1)
  --warmup-runs N          runs before those that count (default 0)
  --num-runs N             runs that count (default 1)
  --print-times            prints count, first, min, max, avg, median and std of their times
  --json                   prints the same, time to load and peak memory as one JSON object
  --runtime FILE           library with TFLite's C interface (default libtensorflow-lite.so.2.14.1, then
                           libtensorflowlite_c.so, as the system finds them)
  --help                   prints this

Each run that counts stands between two marker instructions on RISC-V, for nmpack rvv-report.
Exit status: 0 if all went well, 1 with one sentence on standard error otherwise.
)";

namespace {

int Count(const std::string& option, const std::string& text, int min, int max) {
  const bool digits = !text.empty() && text.size() <= 10 && text.find_first_not_of("0123456789") == std::string::npos;
  const int64_t value = digits ? std::stoll(text) : -1;
  if (!digits || value < min || value > max) {
    throw Failure(option + ": expected an integer from " + std::to_string(min) + " to " + std::to_string(max) +
                  ", got '" + text + "'");
  }
  return static_cast<int>(value);
}

InputShape Shape(const std::string& text) {
  InputShape result;
  const size_t equals = text.rfind('=');
  result.named = equals != std::string::npos;
  if (result.named) result.name = text.substr(0, equals);
  const std::string sizes = result.named ? text.substr(equals + 1) : text;
  if (result.named && sizes.empty()) return result;  // a single value, which has no axes
  for (size_t begin = 0; begin <= sizes.size();) {
    const size_t end = std::min(sizes.find('x', begin), sizes.size());
    const std::string size = sizes.substr(begin, end - begin);
    result.sizes.push_back(Count("--shape", size, 1, std::numeric_limits<int32_t>::max()));
    begin = end + 1;
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> Pairs(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    const std::string pair = text.substr(begin, end - begin);
    const size_t colon = pair.find(':');
    if (colon == std::string::npos || colon == 0) {
      throw Failure("--delegate-options: expected key:value pairs separated by ';', got '" + pair + "'");
    }
    result.emplace_back(pair.substr(0, colon), pair.substr(colon + 1));
    begin = end + 1;
  }
  return result;
}

}  // namespace

Arguments ParseArguments(int argc, char** argv) {
  Arguments result;
  bool no_delegate = false;
  for (int i = 1; i < argc; i++) {
    std::string option = argv[i];
    std::string attached;
    const size_t equals = option.find('=');
    const bool has_attached = option.compare(0, 2, "--") == 0 && equals != std::string::npos;
    if (has_attached) {
      attached = option.substr(equals + 1);
      option.resize(equals);
    }
    const auto flag = [&] {
      if (has_attached) {
        throw Failure(option + " takes no value, got '" + attached + "'");
      }
      return true;
    };
    const auto value = [&]() -> std::string {
      if (has_attached) {
        return attached;
      }
      if (i + 1 == argc) {
        throw Failure(option + ": expected a value, got nothing");
      }
      return argv[++i];
    };
    if (option == "--help" || option == "-h") {
      result.help = flag();
    } else if (option == "--graph") {
      result.graph = value();
    } else if (option == "--runtime") {
      result.runtime = value();
    } else if (option == "--delegate") {
      result.delegate = value();
    } else if (option == "--delegate-options") {
      result.delegate_options = Pairs(value());
    } else if (option == "--profile") {
      result.profile = value();
    } else if (option == "--no-delegate") {
      no_delegate = flag();
    } else if (option == "--input") {
      result.inputs.push_back(value());
    } else if (option == "--shape") {
      result.shapes.push_back(Shape(value()));
    } else if (option == "--output-dir") {
      result.output_dir = value();
    } else if (option == "--num-threads") {
      result.num_threads = Count(option, value(), 1, 256);
    } else if (option == "--warmup-runs") {
      result.warmup_runs = Count(option, value(), 0, 1000000);
    } else if (option == "--num-runs") {
      result.num_runs = Count(option, value(), 1, 1000000);
    } else if (option == "--print-times") {
      result.print_times = flag();
    } else if (option == "--json") {
      result.json = flag();
    } else {
      throw Failure("unknown argument '" + option + "'; nmpack-run --help lists those there are");
    }
  }
  if (result.help) {
    return result;
  }
  if (result.graph.empty()) {
    throw Failure("expected --graph MODEL.tflite, got no model; nmpack-run --help says more");
  }
  if (no_delegate && !result.delegate.empty()) {
    throw Failure("expected one of --delegate and --no-delegate, got both");
  }
  if (result.delegate.empty() && !result.delegate_options.empty()) {
    throw Failure("--delegate-options: expected --delegate FILE with them, got none");
  }
  if (result.delegate.empty() && !result.profile.empty()) {
    throw Failure("--profile: expected --delegate FILE with it, got none");
  }
  if (!result.profile.empty()) result.delegate_options.emplace_back("profile", result.profile);
  return result;
}

}  // namespace nmpack
