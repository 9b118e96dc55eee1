// SPDX-License-Identifier: BSD-3-Clause
#include "machine.h"

#include <sys/utsname.h>

#include <cctype>
#include <fstream>
#include <thread>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"

namespace nmpack {
namespace {

constexpr size_t kLongestName = 120;

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Letters that any reader of JSON and of tables takes, spaces in single file.
std::string Plain(const std::string& text) {
  std::string result;
  for (unsigned char c : text) {
    if (std::isgraph(c) && c != '"' && c != '\\') {
      result += static_cast<char>(c);
    } else if (std::isspace(c) && !result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  result = result.substr(0, kLongestName);
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

// What /proc/cpuinfo says of the first processor.
std::string FindCpu(const std::string& architecture) {
  std::ifstream file("/proc/cpuinfo");
  std::string name, family, model, part;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = Plain(line.substr(0, colon));
    const std::string value = Plain(line.substr(colon + 1));
    if (key == "model name") name = value;
    if (key == "cpu family") family = value;
    if (key == "model") model = value;
    if (key == "uarch" || key == "CPU part") part = value;
  }
  std::string result = name;
  if (!family.empty()) result += " (family " + family + ", model " + model + ")";
  if (!part.empty()) result += (result.empty() ? "" : " ") + part;
  return result.empty() ? architecture : result;
}

std::vector<size_t> FindCaches() {
  std::vector<size_t> caches;
  const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index";
  for (int i = 0; i < 8; i++) {
    const std::string index = folder + std::to_string(i);
    const std::string type = FirstLine(index + "/type");
    const std::string size = FirstLine(index + "/size");
    if (type.empty()) break;
    if (type == "Instruction" || size.size() < 2 || size.size() > 10 || size.back() != 'K') continue;
    if (size.find_first_not_of("0123456789") == size.size() - 1) caches.push_back(std::stoull(size) * 1024);
  }
  return caches;
}

}  // namespace

Machine DescribeMachine() {
  Machine machine;
  struct utsname name {};
  uname(&name);
  machine.architecture = Plain(name.machine);
  machine.cpu = FindCpu(machine.architecture);
  machine.isa = xnn_get_nm_isa();
#if XNN_ARCH_RISCV
  const struct xnn_hardware_config* hardware = xnn_init_hardware_config();
  if (hardware != nullptr && hardware->use_riscv_vector) machine.vlen = hardware->vlenb * 8;
#endif
  machine.caches = FindCaches();
  machine.cores = std::thread::hardware_concurrency();
  machine.kernels = xnn_get_nm_sources_hash();
#if defined(__clang__)
  machine.compiler = Plain("clang " __clang_version__);
#else
  machine.compiler = Plain("gcc " __VERSION__);
#endif
  return machine;
}

}  // namespace nmpack
