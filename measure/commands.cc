// SPDX-License-Identifier: BSD-3-Clause
#include "commands.h"

#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>

#include "xnnpack-nm.h"

namespace nmpack {
namespace {

// All elements of an image or a filter together. More would not fit the boards that this runs on.
constexpr size_t kMostElements = size_t{1} << 28;
constexpr size_t kMostSize = 1 << 20;

double ParseDensity(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value > 0.0 && value <= 1.0)) {
    throw BadCommand("density: expected a number above 0 and up to 1, got '" + text + "'");
  }
  return value;
}

xnn_datatype ParseDatatype(const std::string& text) {
  const xnn_datatype datatype = xnn_get_nm_datatype(text.c_str());
  if (datatype != xnn_datatype_invalid) return datatype;
  std::string names;
  for (size_t i = 0; const char* name = xnn_get_nm_datatype_name(i); i++) {
    names += (i == 0 ? "" : ", ") + std::string(name);
  }
  throw BadCommand("dtype: expected one of " + names + ", got '" + text + "'");
}

void CheckProduct(const char* what, std::initializer_list<size_t> factors) {
  size_t product = 1;
  for (size_t factor : factors) {
    if (factor != 0 && product > kMostElements / factor) {
      throw BadCommand(std::string(what) + " has more than " + std::to_string(kMostElements) + " elements");
    }
    product *= factor;
  }
}

void CheckReach(const char* what, size_t size, size_t padding, size_t kernel, size_t dilation) {
  if ((kernel - 1) * dilation + 1 > size + padding) {
    throw BadCommand(std::string("the kernel is ") + what + " than the padded image");
  }
}

void Check(const LayerSpec& s) {
  CheckReach("higher", s.input_height, s.padding_top + s.padding_bottom, s.kernel_height, s.dilation_height);
  CheckReach("wider", s.input_width, s.padding_left + s.padding_right, s.kernel_width, s.dilation_width);
  CheckProduct("the input", {s.batch, s.input_height, s.input_width, s.groups, s.group_input_channels});
  CheckProduct("the output", {s.batch, s.OutputHeight(), s.OutputWidth(), s.groups, s.group_output_channels});
  CheckProduct("the filter", {s.kernel_height, s.kernel_width, s.group_input_channels, s.groups, s.group_output_channels});
}

}  // namespace

std::vector<std::string> SplitWords(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

size_t ParseCount(const std::string& what, const std::string& text, size_t least, size_t most) {
  const bool digits = !text.empty() && text.size() <= 18 && text.find_first_not_of("0123456789") == std::string::npos;
  const size_t value = digits ? static_cast<size_t>(std::stoull(text)) : 0;
  if (!digits || value < least || value > most) {
    throw BadCommand(what + ": expected a number from " + std::to_string(least) + " to " + std::to_string(most) +
                     ", got '" + text + "'");
  }
  return value;
}

LayerSpec ParseLayer(const std::vector<std::string>& words, size_t first) {
  LayerSpec spec;
  struct Key {
    size_t* value;
    size_t least;
    size_t most;
  };
  std::map<std::string, Key> keys = {
      {"batch", {&spec.batch, 1, kMostSize}},
      {"input_height", {&spec.input_height, 1, kMostSize}},
      {"input_width", {&spec.input_width, 1, kMostSize}},
      {"groups", {&spec.groups, 1, kMostSize}},
      {"group_input_channels", {&spec.group_input_channels, 1, kMostSize}},
      {"group_output_channels", {&spec.group_output_channels, 1, kMostSize}},
      {"kernel_height", {&spec.kernel_height, 1, 4096}},
      {"kernel_width", {&spec.kernel_width, 1, 4096}},
      {"stride_height", {&spec.stride_height, 1, 4096}},
      {"stride_width", {&spec.stride_width, 1, 4096}},
      {"dilation_height", {&spec.dilation_height, 1, 4096}},
      {"dilation_width", {&spec.dilation_width, 1, 4096}},
      {"padding_top", {&spec.padding_top, 0, 4096}},
      {"padding_right", {&spec.padding_right, 0, 4096}},
      {"padding_bottom", {&spec.padding_bottom, 0, 4096}},
      {"padding_left", {&spec.padding_left, 0, 4096}},
      {"tile", {&spec.tile, 1, kMostSize}},
      {"block", {&spec.block, 1, kMostSize}},
      {"seed", {&spec.seed, 0, UINT32_MAX}},
      {"threads", {&spec.threads, 1, 256}},
  };
  for (size_t i = first; i < words.size(); i++) {
    const size_t equals = words[i].find('=');
    const std::string name = words[i].substr(0, equals);
    const std::string text = equals == std::string::npos ? "" : words[i].substr(equals + 1);
    if (name == "density" && spec.density == 0.0) {
      spec.density = ParseDensity(text);
      continue;
    }
    if (name == "dtype" && spec.datatype == xnn_datatype_invalid) {
      spec.datatype = ParseDatatype(text);
      continue;
    }
    const auto found = keys.find(name);
    if (found == keys.end()) throw BadCommand("layer: unknown or repeated key '" + name + "'");
    *found->second.value = ParseCount(name, text, found->second.least, found->second.most);
    keys.erase(found);
  }
  if (spec.density == 0.0) throw BadCommand("layer: expected density=NUMBER");
  if (spec.datatype == xnn_datatype_invalid) throw BadCommand("layer: expected dtype=TYPE");
  if (!keys.empty()) throw BadCommand("layer: expected " + keys.begin()->first + "=NUMBER");
  Check(spec);
  return spec;
}

}  // namespace nmpack
