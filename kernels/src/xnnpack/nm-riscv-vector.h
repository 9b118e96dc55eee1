// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "xnnpack/common.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether a RISC-V system has the ratified vector extension, RVV 1.0. AT_HWCAP does not tell: kernels of boards with
// T-Head's C906, C910 and C920 set its V for the draft 0.7.1, whose instructions are others under the same numbers.

// mvendorid of T-Head. Its cores with the draft have marchid 0; those with RVV 1.0 (C908, later C920) another.
#define XNN_RISCV_VENDOR_THEAD UINT64_C(0x5B7)

// Answer to: may this thread use vectors? (prctl PR_RISCV_V_GET_CONTROL)
enum xnn_riscv_vector_permission {
  xnn_riscv_vector_permission_unknown,
  xnn_riscv_vector_permission_given,
  xnn_riscv_vector_permission_denied,
};

// Answer of the core itself to a vsetvli that means something in RVV 1.0 only.
enum xnn_riscv_vector_core {
  xnn_riscv_vector_core_not_asked,
  xnn_riscv_vector_core_ratified,   // took it
  xnn_riscv_vector_core_draft,      // has the instruction, but not this operand
  xnn_riscv_vector_core_illegal,    // has no such instruction, or may not use it
};

// What the system says.
struct xnn_riscv_vector_facts {
  bool hwcap_v;
  // The system call riscv_hwprobe is there and knows the key IMA_EXT_0: Linux 6.4. Its bit for V: 6.5.
  bool hwprobe;
  bool hwprobe_v;
  uint64_t vendor_id;
  uint64_t arch_id;
  enum xnn_riscv_vector_permission permission;
  enum xnn_riscv_vector_core core;
  // The bit of IMA_EXT_0 for Zvfh, arithmetic of f16 in vectors: Linux 6.8.
  bool hwprobe_zvfh;
};

struct xnn_riscv_vector_decision {
  bool use;
  // Not decided: only the core can tell, and is to be asked.
  bool ask_core;
  // The system claims vectors that are not used: worth a warning.
  bool denied;
  const char* reason;
  // Likewise, of vectors of f16.
  bool use_fp16;
  const char* fp16_reason;
};

// Half-precision kernels need the other vector kernels, too. AT_HWCAP has no bit for them, so that what riscv_hwprobe does
// not affirm is not there.
static XNN_INLINE void xnn_decide_riscv_vector_fp16(
  const struct xnn_riscv_vector_facts* facts,
  struct xnn_riscv_vector_decision* decision)
{
  decision->use_fp16 = decision->use && facts->hwprobe_zvfh;
  if (decision->use_fp16) {
    decision->fp16_reason = "half-precision vector kernels run: riscv_hwprobe says Zvfh";
  } else if (!decision->use) {
    decision->fp16_reason = "no half-precision vector kernels run: no vector kernels do";
  } else if (!facts->hwprobe) {
    decision->fp16_reason = "no half-precision vector kernels run: only riscv_hwprobe tells of Zvfh, and this kernel has none";
  } else {
    decision->fp16_reason =
      "no half-precision vector kernels run: riscv_hwprobe does not say Zvfh, which it knows since Linux 6.8";
  }
}

static XNN_INLINE struct xnn_riscv_vector_decision xnn_decide_riscv_vector(const struct xnn_riscv_vector_facts* facts) {
  struct xnn_riscv_vector_decision decision = {false, false, facts->hwcap_v || facts->hwprobe_v, "", false, ""};
  if (!decision.denied) {
    decision.reason = "scalar kernels run: the processor has no vector extension";
  } else if (facts->permission == xnn_riscv_vector_permission_denied) {
    decision.reason = "scalar kernels run: this process may not use vectors (prctl, or sysctl abi.riscv_v_default_allow)";
  } else if (facts->hwprobe && !facts->hwprobe_v) {
    decision.reason = "scalar kernels run: AT_HWCAP claims vectors, but riscv_hwprobe denies RVV 1.0";
  } else if (facts->vendor_id == XNN_RISCV_VENDOR_THEAD && facts->arch_id == 0) {
    // Linux 6.5 to 6.7 believed the device tree; later ones have this very rule.
    decision.reason = "scalar kernels run: T-Head's cores whose marchid is 0 have the draft 0.7.1 of the vector extension";
  } else if (facts->hwprobe) {
    decision.use = true;
    decision.reason = "vector kernels run: riscv_hwprobe says RVV 1.0";
  } else {
    switch (facts->core) {
      case xnn_riscv_vector_core_not_asked:
        decision.ask_core = true;
        decision.reason = "AT_HWCAP claims vectors, and the kernel cannot say which";
        break;
      case xnn_riscv_vector_core_ratified:
        decision.use = true;
        decision.reason = "vector kernels run: AT_HWCAP says V, and the core understands RVV 1.0";
        break;
      case xnn_riscv_vector_core_draft:
        decision.reason = "scalar kernels run: AT_HWCAP claims vectors, but the core has a draft of them, not RVV 1.0";
        break;
      case xnn_riscv_vector_core_illegal:
        decision.reason = "scalar kernels run: AT_HWCAP claims vectors, but their instructions are illegal";
        break;
    }
  }
  decision.denied = decision.denied && !decision.use && !decision.ask_core;
  xnn_decide_riscv_vector_fp16(facts, &decision);
  return decision;
}

#if XNN_ARCH_RISCV
// Asks all that is needed, and decides.
XNN_INTERNAL struct xnn_riscv_vector_decision xnn_choose_riscv_vector(void);

// Asks the kernel, and no core.
XNN_INTERNAL struct xnn_riscv_vector_facts xnn_get_riscv_vector_facts(void);

// Asks this core. Where the instruction is illegal, that is an answer: the process lives on.
XNN_INTERNAL enum xnn_riscv_vector_core xnn_ask_riscv_vector_core(void);
#endif  // XNN_ARCH_RISCV

#ifdef __cplusplus
}  // extern "C"
#endif
