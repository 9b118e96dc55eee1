// SPDX-License-Identifier: BSD-3-Clause
#include "options.h"

#include <set>

namespace nmpack {
namespace {

constexpr int kMaxThreads = 256;
constexpr char kKnown[] =
    "known options: num_threads=1..256, nm=auto|off|force, layout=auto|nhwc|cnhw, "
    "precision=model|f16, verbose=0|1, tuning=model|none|PATH, report=PATH, profile=PATH";

std::string BadValue(const std::string& key, const char* expected, const std::string& value) {
  return "option '" + key + "': expected " + expected + ", got '" + value + "'; " + kKnown;
}

// Decimal digits only: no sign, space, fraction or base prefix.
bool ParseInt(const std::string& text, int min, int max, int* result) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) {
    return false;
  }
  *result = std::stoi(text);
  return min <= *result && *result <= max;
}

std::string SetOption(const std::string& key, const std::string& value, Options* options) {
  if (key == "num_threads") {
    if (!ParseInt(value, 1, kMaxThreads, &options->num_threads)) {
      return BadValue(key, "an integer from 1 to 256", value);
    }
  } else if (key == "nm") {
    if (value == "auto") {
      options->nm = NMMode::kAuto;
    } else if (value == "off") {
      options->nm = NMMode::kOff;
    } else if (value == "force") {
      options->nm = NMMode::kForce;
    } else {
      return BadValue(key, "auto, off or force", value);
    }
  } else if (key == "layout") {
    if (value == "auto") {
      options->layout = Layout::kAuto;
    } else if (value == "nhwc") {
      options->layout = Layout::kNhwc;
    } else if (value == "cnhw") {
      options->layout = Layout::kCnhw;
    } else {
      return BadValue(key, "auto, nhwc or cnhw", value);
    }
  } else if (key == "precision") {
    if (value != "model" && value != "f16") {
      return BadValue(key, "model or f16", value);
    }
    options->precision = value == "f16" ? Precision::kF16 : Precision::kModel;
  } else if (key == "verbose") {
    if (value != "0" && value != "1") {
      return BadValue(key, "0 or 1", value);
    }
    options->verbose = value == "1";
  } else if (key == "tuning") {
    if (value.empty()) {
      return BadValue(key, "model, none or the path of a file", value);
    }
    options->tuning = value;
  } else if (key == "report" || key == "profile") {
    if (value.empty()) {
      return BadValue(key, "the path of a file", value);
    }
    (key == "report" ? options->report : options->profile) = value;
  } else {
    return "unknown option '" + key + "'; " + kKnown;
  }
  return std::string();
}

}  // namespace

std::string ParseOptions(const char* const* keys, const char* const* values, size_t count,
                         Options* options) {
  if (count != 0 && (keys == nullptr || values == nullptr)) {
    return "expected " + std::to_string(count) + " options, got a null array";
  }
  std::set<std::string> seen;
  for (size_t i = 0; i < count; i++) {
    if (keys[i] == nullptr || values[i] == nullptr) {
      return "option #" + std::to_string(i) + ": expected two strings, got a null pointer; " + kKnown;
    }
    const std::string key = keys[i];
    if (!seen.insert(key).second) {
      return "option '" + key + "' is given twice; " + kKnown;
    }
    const std::string error = SetOption(key, values[i], options);
    if (!error.empty()) {
      return error;
    }
  }
  if (!options->profile.empty() && options->profile == options->report) {
    return BadValue("profile", "another path than the report's", options->profile);
  }
  return std::string();
}

}  // namespace nmpack
