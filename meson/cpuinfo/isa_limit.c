// SPDX-License-Identifier: BSD-3-Clause

// cpuinfo's x86/isa.c for -Disa_limit: what a processor has beyond the limit is not seen. XNNPACK asks cpuinfo, and nothing
// else, which kernels may run, so all of them obey, upstream's and ours.

#define cpuinfo_x86_detect_isa cpuinfo_x86_detect_whole_isa
#include "x86/isa.c"
#undef cpuinfo_x86_detect_isa

#include "x86/api.h"

// Values of NMPACK_ISA_LIMIT: places in the list of meson.build.
enum { sse41, avx, fma3, avx2, avx512, avx512vnni };

// For the test, which has a processor with everything.
CPUINFO_INTERNAL void nmpack_limit_isa(struct cpuinfo_x86_isa* isa);

void nmpack_limit_isa(struct cpuinfo_x86_isa* isa) {
	const int limit = NMPACK_ISA_LIMIT;
	isa->avx &= limit >= avx;
	isa->fma4 = isa->xop = false;
	isa->f16c &= limit >= fma3;
	isa->fma3 &= limit >= fma3;
	isa->avx2 &= limit >= avx2;
	isa->avx512f &= limit >= avx512;
	isa->avx512cd &= limit >= avx512;
	isa->avx512dq &= limit >= avx512;
	isa->avx512bw &= limit >= avx512;
	isa->avx512vl &= limit >= avx512;
	isa->avx512vbmi &= limit >= avx512vnni;
	isa->avx512vnni &= limit >= avx512vnni;
	isa->gfni &= limit >= avx512vnni;
	isa->avxvnni = isa->avx_vnni_int8 = isa->avx_vnni_int16 = isa->avx_ne_convert = false;
	isa->avx512pf = isa->avx512er = isa->avx512_4vnniw = isa->avx512_4fmaps = false;
	isa->avx512ifma = isa->avx512vbmi2 = isa->avx512bitalg = isa->avx512vpopcntdq = false;
	isa->avx512bf16 = isa->avx512fp16 = isa->avx512vp2intersect = isa->avx10_1 = isa->avx10_2 = false;
	isa->amx_bf16 = isa->amx_tile = isa->amx_int8 = isa->amx_fp16 = false;
}

struct cpuinfo_x86_isa cpuinfo_x86_detect_isa(
	const struct cpuid_regs basic_info,
	const struct cpuid_regs extended_info,
	uint32_t max_base_index,
	uint32_t max_extended_index,
	enum cpuinfo_vendor vendor,
	enum cpuinfo_uarch uarch) {
	struct cpuinfo_x86_isa isa = cpuinfo_x86_detect_whole_isa(
		basic_info, extended_info, max_base_index, max_extended_index, vendor, uarch);
	nmpack_limit_isa(&isa);
	return isa;
}
