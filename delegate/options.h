// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_OPTIONS_H_
#define NMPACK_DELEGATE_OPTIONS_H_

#include <cstddef>
#include <string>

namespace nmpack {

enum class NMMode { kAuto, kOff, kForce };

// In which order images lie in memory between operators.
enum class Layout { kAuto, kNhwc, kCnhw };

// The numbers that are computed with: the model's own, or in half precision what is in single precision there.
enum class Precision { kModel, kF16 };

// What a user may ask of the delegate. README and docs/delegate.md list the same names.
struct Options {
  int num_threads = 0;  // 0: the interpreter's number, or as many as there are processors to use
  NMMode nm = NMMode::kAuto;
  Layout layout = Layout::kAuto;
  Precision precision = Precision::kModel;
  bool verbose = false;
  std::string report;  // path of the JSON report; empty: none
  std::string tuning = "model";  // path of a tuning table, "model" for the model's own, "none"
  std::string profile;  // path of the times of operators; empty: none
};

// Fills `options` from `count` pairs of strings. Returns an empty string, or one sentence that names
// the first option that is unknown, given twice or has a bad value.
std::string ParseOptions(const char* const* keys, const char* const* values, size_t count,
                         Options* options);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_OPTIONS_H_
