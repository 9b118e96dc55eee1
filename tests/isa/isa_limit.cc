// SPDX-License-Identifier: BSD-3-Clause
//
// usage: isa_limit LIMIT
//
// Lets XNNPACK configure itself on a processor that has everything, seen through a cpuinfo that was built with
// -Disa_limit=LIMIT. Fails unless it takes exactly the instruction sets that docs/developing.md lists, and the kernels of
// the largest of them, upstream's as ours.

#include <cpuinfo.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "xnnpack-nm.h"
#include "xnnpack.h"
#include "xnnpack/config.h"
#include "xnnpack/gemm.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmconv.h"

extern "C" void nmpack_limit_isa(struct cpuinfo_x86_isa* isa);

namespace {

struct Expected {
  std::string taken;
  std::string gemm;
  uint64_t nmconv;  // arch_flags in the list of kernels
  std::string name;  // in records and tables
};

const std::string kAvx = "ssse3 sse4_1 avx ";
const std::string kAvx2 = kAvx + "f16c fma3 avx2 ";

const std::map<std::string, Expected> kExpected = {
    {"sse41", {"ssse3 sse4_1 ", "sse", 0, "scalar.sse41"}},
    {"avx", {kAvx, "avx", 0, "scalar.avx"}},
    {"fma3", {kAvx + "f16c fma3 ", "fma3", xnn_arch_x86_fma3, "fma3"}},
    {"avx2", {kAvx2, "fma3", xnn_arch_x86_fma3, "fma3.avx2"}},
    {"avx512", {kAvx2 + "avx512f avx512skx avx256skx ", "avx512f", xnn_arch_x86_avx512f, "avx512f.skx"}},
    {"avx512vnni",
     {kAvx2 + "avx512f avx512skx avx512vbmi avx512vnni avx512vnnigfni avx256skx ", "avx512f", xnn_arch_x86_avx512f,
      "avx512f.skx.vnni.gfni"}},
};

std::string Taken(const xnn_hardware_config& config) {
  std::string result;
#define TAKEN(name) result += config.use_x86_##name ? #name " " : ""
  TAKEN(ssse3);
  TAKEN(sse4_1);
  TAKEN(avx);
  TAKEN(f16c);
  TAKEN(fma3);
  TAKEN(avx2);
  TAKEN(avx512f);
  TAKEN(avx512skx);
  TAKEN(avx512vbmi);
  TAKEN(avx512vnni);
  TAKEN(avx512vnnigfni);
  TAKEN(avx512amx);
  TAKEN(avx512fp16);
  TAKEN(avxvnni);
  TAKEN(avxvnniint8);
  TAKEN(avx256skx);
  TAKEN(avx256vnni);
  TAKEN(avx256vnnigfni);
#undef TAKEN
  return result;
}

// The instruction set of the dense f32 kernel for one row.
std::string Gemm() {
  const auto kernel = xnn_init_f32_gemm_config()->minmax.gemm[0].function[XNN_UARCH_DEFAULT];
  const auto is = [&](auto other) { return kernel == reinterpret_cast<decltype(kernel)>(other); };
  if (is(xnn_f32_gemm_minmax_ukernel_1x8__sse_load1)) return "sse";
  if (is(xnn_f32_gemm_minmax_ukernel_1x16__avx_broadcast)) return "avx";
  if (is(xnn_f32_gemm_minmax_ukernel_1x16__fma3_broadcast)) return "fma3";
  if (is(xnn_f32_gemm_minmax_ukernel_1x16s4__fma3_broadcast)) return "fma3";
  if (is(xnn_f32_gemm_minmax_ukernel_1x32__avx512f_broadcast)) return "avx512f";
  return "another";
}

// That of the first N:M kernel.
uint64_t Nmconv() {
  const auto kernel = xnn_init_f32_nmconv_config()[0].ukernel;
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale) \
  if (kernel == reinterpret_cast<xnn_nmconv_ukernel_fn>(ukernel)) return arch_flags;
#include "f32-nmconv/f32-nmconv-minmax.h"
#undef XNN_UKERNEL
  return ~UINT64_C(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || kExpected.count(argv[1]) == 0 || !cpuinfo_initialize()) {
    std::fprintf(stderr, "usage: isa_limit LIMIT\n");
    return 1;
  }
  // As found, the processor is within the limit already.
  cpuinfo_x86_isa limited = cpuinfo_isa;
  nmpack_limit_isa(&limited);
  if (std::memcmp(&limited, &cpuinfo_isa, sizeof(limited)) != 0) {
    std::fprintf(stderr, "cpuinfo found more than %s allows\n", argv[1]);
    return 1;
  }
  std::memset(&cpuinfo_isa, 1, sizeof(cpuinfo_isa));
  nmpack_limit_isa(&cpuinfo_isa);
  const xnn_hardware_config* config = xnn_init_hardware_config();
  const Expected& expected = kExpected.at(argv[1]);
  const Expected got = {config == nullptr ? "nothing" : Taken(*config), Gemm(), Nmconv(), xnn_get_nm_isa()};
  for (const Expected& one : {expected, got}) {
    std::printf("%s: %sgemm %s, nmconv %llx, %s\n", argv[1], one.taken.c_str(), one.gemm.c_str(),
                static_cast<unsigned long long>(one.nmconv), one.name.c_str());
  }
  // Beside dense vectors a scalar micro-kernel costs more than beside scalar ones, which is 110 %.
  const float percent = xnn_init_nm_costs()->nmconv_percent[0];
  if (got.nmconv == 0 && percent < 200) {
    std::fprintf(stderr, "a weight of the scalar micro-kernel is predicted to cost %g %% of a dense one\n", percent);
    return 1;
  }
  const bool is_same = got.taken == expected.taken && got.gemm == expected.gemm && got.nmconv == expected.nmconv &&
                       got.name == expected.name;
  return is_same ? 0 : 1;
}
