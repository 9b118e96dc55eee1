// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// One row a micro-kernel: declaration, test and benchmark are made from it.
// XNN_UKERNEL(arch_flags, ukernel, op): op is COPY (bits), MAX or ADD (f32).

#if XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_x32_packim2col_ukernel__rvv, COPY)
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_maxpool_cnhw_ukernel__rvv, MAX)
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_avgpool_cnhw_ukernel__rvv, ADD)
#endif  // XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR

#if XNN_ARCH_X86 || XNN_ARCH_X86_64
XNN_UKERNEL(xnn_arch_x86_avx2, xnn_x32_packim2col_ukernel__avx2, COPY)
XNN_UKERNEL(xnn_arch_x86_avx2, xnn_f32_maxpool_cnhw_ukernel__avx2, MAX)
XNN_UKERNEL(xnn_arch_x86_avx2, xnn_f32_avgpool_cnhw_ukernel__avx2, ADD)
XNN_UKERNEL(xnn_arch_x86_avx512f, xnn_x32_packim2col_ukernel__avx512f, COPY)
XNN_UKERNEL(xnn_arch_x86_avx512f, xnn_f32_maxpool_cnhw_ukernel__avx512f, MAX)
XNN_UKERNEL(xnn_arch_x86_avx512f, xnn_f32_avgpool_cnhw_ukernel__avx512f, ADD)
#endif  // XNN_ARCH_X86 || XNN_ARCH_X86_64

#if XNN_ARCH_ARM || XNN_ARCH_ARM64
XNN_UKERNEL(xnn_arch_arm_neon, xnn_x32_packim2col_ukernel__neon, COPY)
XNN_UKERNEL(xnn_arch_arm_neon, xnn_f32_maxpool_cnhw_ukernel__neon, MAX)
XNN_UKERNEL(xnn_arch_arm_neon, xnn_f32_avgpool_cnhw_ukernel__neon, ADD)
#endif  // XNN_ARCH_ARM || XNN_ARCH_ARM64

XNN_UKERNEL(0, xnn_x32_packim2col_ukernel__scalar, COPY)
XNN_UKERNEL(0, xnn_f32_maxpool_cnhw_ukernel__scalar, MAX)
XNN_UKERNEL(0, xnn_f32_avgpool_cnhw_ukernel__scalar, ADD)
