// SPDX-License-Identifier: BSD-3-Clause
#include "processor.h"

#include <sys/utsname.h>

#include <cctype>
#include <fstream>

namespace nmpack {
namespace {

constexpr size_t kLongest = 120;

}  // namespace

std::string PlainText(const std::string& text) {
  std::string result;
  for (unsigned char c : text) {
    if (c > 0x20 && c < 0x7f && c != '"' && c != '\\') {
      result += static_cast<char>(c);
    } else if (std::isspace(c) && !result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  result = result.substr(0, kLongest);
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

std::string ProcessorName() {
  // Of the first processor.
  std::ifstream file("/proc/cpuinfo");
  std::string name, family, model, part;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = PlainText(line.substr(0, colon));
    const std::string value = PlainText(line.substr(colon + 1));
    if (key == "model name") name = value;
    if (key == "cpu family") family = value;
    if (key == "model") model = value;
    if (key == "uarch" || key == "CPU part") part = value;
  }
  std::string result = name;
  if (!family.empty()) result += " (family " + family + ", model " + model + ")";
  if (!part.empty()) result += (result.empty() ? "" : " ") + part;
  if (!result.empty()) return PlainText(result);
  struct utsname system {};
  uname(&system);
  return PlainText(system.machine);
}

}  // namespace nmpack
