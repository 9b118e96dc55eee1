// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#ifndef _GNU_SOURCE
  #define _GNU_SOURCE
#endif

#include <stddef.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nm-riscv-vector.h"

#if XNN_ARCH_RISCV

#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "xnnpack/log.h"

#define COMPAT_HWCAP_ISA_V (1 << ('V' - 'A'))

// Copied from the kernel's headers, which are older than these on many systems.
#define NR_RISCV_HWPROBE 258
#define RISCV_HWPROBE_KEY_MVENDORID 0
#define RISCV_HWPROBE_KEY_MARCHID 1
#define RISCV_HWPROBE_KEY_IMA_EXT_0 4
#define RISCV_HWPROBE_IMA_V (UINT64_C(1) << 2)
#define RISCV_HWPROBE_EXT_ZVFH (UINT64_C(1) << 30)
#define PR_RISCV_V_GET_CONTROL 70
#define PR_RISCV_V_VSTATE_CTRL_CUR_MASK 3
#define PR_RISCV_V_VSTATE_CTRL_OFF 1
#define PR_RISCV_V_VSTATE_CTRL_ON 2

struct hwprobe_pair {
  int64_t key;  // -1 afterwards: the kernel does not know it
  uint64_t value;
};

struct xnn_riscv_vector_facts xnn_get_riscv_vector_facts(void) {
  struct xnn_riscv_vector_facts facts = {0};
  const unsigned long hwcap = getauxval(AT_HWCAP);
  xnn_log_debug("getauxval(AT_HWCAP) = %08lX", hwcap);
  facts.hwcap_v = (hwcap & COMPAT_HWCAP_ISA_V) != 0;

  struct hwprobe_pair pairs[] = {
    {RISCV_HWPROBE_KEY_IMA_EXT_0, 0},
    {RISCV_HWPROBE_KEY_MVENDORID, 0},
    {RISCV_HWPROBE_KEY_MARCHID, 0},
  };
  // No set of processors: what all of them have in common. ENOSYS before Linux 6.4.
  if (syscall(NR_RISCV_HWPROBE, pairs, XNN_COUNT_OF(pairs), (size_t) 0, NULL, 0u) == 0) {
    facts.hwprobe = pairs[0].key == RISCV_HWPROBE_KEY_IMA_EXT_0;
    facts.hwprobe_v = facts.hwprobe && (pairs[0].value & RISCV_HWPROBE_IMA_V) != 0;
    facts.hwprobe_zvfh = facts.hwprobe && (pairs[0].value & RISCV_HWPROBE_EXT_ZVFH) != 0;
    facts.vendor_id = pairs[1].key == RISCV_HWPROBE_KEY_MVENDORID ? pairs[1].value : 0;
    facts.arch_id = pairs[2].key == RISCV_HWPROBE_KEY_MARCHID ? pairs[2].value : 0;
  }

  const int control = prctl(PR_RISCV_V_GET_CONTROL, 0, 0, 0, 0);
  if (control >= 0) {
    switch (control & PR_RISCV_V_VSTATE_CTRL_CUR_MASK) {
      case PR_RISCV_V_VSTATE_CTRL_OFF:
        facts.permission = xnn_riscv_vector_permission_denied;
        break;
      case PR_RISCV_V_VSTATE_CTRL_ON:
        facts.permission = xnn_riscv_vector_permission_given;
        break;
    }
  }
  return facts;
}

// Returns vtype after a vsetvli to 64-bit elements, tails and masked-off elements agnostic. By the draft that is 512-bit
// elements and reserved bits, which makes vtype illegal, but traps no more than in RVV 1.0. A function in assembly, so that
// the signal's handler knows its instructions by their addresses, and in numbers, so that every assembler takes it.
unsigned long xnn_riscv_vtype_probe(void);
__asm__(
  ".pushsection .text\n"
  ".balign 4\n"
  ".hidden xnn_riscv_vtype_probe\n"
  ".globl xnn_riscv_vtype_probe\n"
  ".type xnn_riscv_vtype_probe, @function\n"
  "xnn_riscv_vtype_probe:\n"
  ".word 0x0D807557\n"  // vsetvli a0, zero, e64, m1, ta, ma
  ".word 0xC2102573\n"  // csrr a0, vtype
  "ret\n"
  ".size xnn_riscv_vtype_probe, .-xnn_riscv_vtype_probe\n"
  ".popsection\n");
#define PROBE_BYTES 8
#define PROBE_VTYPE 0xD8ul
#define PROBE_ILLEGAL 0ul  // e8, m1, undisturbed: what the probe never asks for

// Numbers in the kernel's struct user_regs_struct.
#define GREG_PC 0
#define GREG_RA 1
#define GREG_A0 10

static struct sigaction old_action;

// Returns from the probe in its place. For any other instruction the old action comes back and sees the signal again.
static void on_illegal_instruction(int signal_number, siginfo_t* info, void* context) {
  (void) info;
  ucontext_t* interrupted = context;
  const uintptr_t offset = (uintptr_t) interrupted->uc_mcontext.__gregs[GREG_PC] - (uintptr_t) &xnn_riscv_vtype_probe;
  if (offset < PROBE_BYTES) {
    interrupted->uc_mcontext.__gregs[GREG_PC] = interrupted->uc_mcontext.__gregs[GREG_RA];
    interrupted->uc_mcontext.__gregs[GREG_A0] = PROBE_ILLEGAL;
  } else {
    sigaction(signal_number, &old_action, NULL);
  }
}

enum xnn_riscv_vector_core xnn_ask_riscv_vector_core(void) {
  struct sigaction action = {0};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigset_t illegal, old_mask;
  sigemptyset(&action.sa_mask);
  sigemptyset(&illegal);
  sigaddset(&illegal, SIGILL);
  if (sigaction(SIGILL, &action, &old_action) != 0) {
    return xnn_riscv_vector_core_illegal;
  }
  // A blocked SIGILL kills whoever handles it.
  const int blocked = pthread_sigmask(SIG_UNBLOCK, &illegal, &old_mask);
  const unsigned long vtype = blocked == 0 ? xnn_riscv_vtype_probe() : PROBE_ILLEGAL;
  if (blocked == 0) {
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
  }
  sigaction(SIGILL, &old_action, NULL);
  switch (vtype) {
    case PROBE_VTYPE:
      return xnn_riscv_vector_core_ratified;
    case PROBE_ILLEGAL:
      return xnn_riscv_vector_core_illegal;
    default:
      return xnn_riscv_vector_core_draft;
  }
}

struct xnn_riscv_vector_decision xnn_choose_riscv_vector(void) {
  struct xnn_riscv_vector_facts facts = xnn_get_riscv_vector_facts();
  struct xnn_riscv_vector_decision decision = xnn_decide_riscv_vector(&facts);
  if (decision.ask_core) {
    facts.core = xnn_ask_riscv_vector_core();
    decision = xnn_decide_riscv_vector(&facts);
  }
  if (decision.denied) {
    xnn_log_warning("%s", decision.reason);
  } else {
    xnn_log_info("%s", decision.reason);
  }
  xnn_log_info("%s", decision.fp16_reason);
  return decision;
}

#endif  // XNN_ARCH_RISCV

const char* xnn_get_riscv_vector_reason(void) {
  #if XNN_ARCH_RISCV
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    return hardware_config != NULL ? hardware_config->riscv_vector_reason : NULL;
  #else
    return NULL;
  #endif
}

const char* xnn_get_riscv_vector_fp16_reason(void) {
  #if XNN_ARCH_RISCV
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    return hardware_config != NULL ? hardware_config->riscv_vector_fp16_reason : NULL;
  #else
    return NULL;
  #endif
}
