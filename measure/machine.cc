// SPDX-License-Identifier: BSD-3-Clause
#include "machine.h"

#include <sys/utsname.h>

#include <fstream>
#include <thread>

#include "processor.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"

namespace nmpack {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
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

bool LimitInstructions(const std::string& isa) {
#if XNN_ARCH_X86_64
  // What is chosen later follows from this alone.
  auto* hardware = const_cast<struct xnn_hardware_config*>(xnn_init_hardware_config());
  if (isa == "fma3" && hardware->use_x86_fma3 && hardware->use_x86_avx2) {
    hardware->use_x86_avx512f = hardware->use_x86_avx512skx = hardware->use_x86_avx512fp16 = false;
    // Dense micro-kernels of bytes look at these, too.
    hardware->use_x86_avx512vnni = hardware->use_x86_avx512amx = hardware->use_x86_avxvnni = false;
    hardware->use_x86_avxvnniint8 = hardware->use_x86_avx256skx = hardware->use_x86_avx256vnni = false;
    hardware->use_x86_avx512vnnigfni = hardware->use_x86_avx256vnnigfni = false;
    return true;
  }
#endif
  const std::string whole = xnn_get_nm_isa();
  return isa == whole.substr(0, whole.find('.'));
}

Machine DescribeMachine() {
  Machine machine;
  struct utsname name {};
  uname(&name);
  machine.architecture = PlainText(name.machine);
  machine.cpu = ProcessorName();
  machine.isa = xnn_get_nm_isa();
  machine.vlen = xnn_get_nm_vector_length();
  machine.caches = FindCaches();
  machine.cores = std::thread::hardware_concurrency();
  machine.kernels = xnn_get_nm_sources_hash();
#if defined(__clang__)
  machine.compiler = PlainText("clang " __clang_version__);
#else
  machine.compiler = PlainText("gcc " __VERSION__);
#endif
  return machine;
}

}  // namespace nmpack
