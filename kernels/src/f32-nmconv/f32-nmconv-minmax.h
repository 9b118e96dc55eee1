// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// One row a micro-kernel: declaration, test and benchmark are made from it.
// XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale): a tile is nr * nr_scale output channels wide.

#if XNN_ARCH_X86 || XNN_ARCH_X86_64
XNN_UKERNEL(xnn_arch_x86_fma3, xnn_f32_nmconv_minmax_ukernel_6x16__fma3, 6, 16, 1)
XNN_UKERNEL(xnn_arch_x86_fma3, xnn_f32_nmconv_minmax_ukernel_10x8__fma3, 10, 8, 1)
XNN_UKERNEL(xnn_arch_x86_avx512f, xnn_f32_nmconv_minmax_ukernel_7x32__avx512f, 7, 32, 1)
XNN_UKERNEL(xnn_arch_x86_avx512f, xnn_f32_nmconv_minmax_ukernel_14x32__avx512f, 14, 32, 1)
XNN_UKERNEL(xnn_arch_x86_avx512f, xnn_f32_nmconv_minmax_ukernel_10x16__avx512f, 10, 16, 1)
#endif  // XNN_ARCH_X86 || XNN_ARCH_X86_64

#if XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_14x1v__rvv, 14, 1, xnn_init_hardware_config()->vlenb / sizeof(float))
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_7x2v__rvv, 7, 2, xnn_init_hardware_config()->vlenb / sizeof(float))
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_14x2v__rvv, 14, 2, xnn_init_hardware_config()->vlenb / sizeof(float))
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_7x4v__rvv, 7, 4, xnn_init_hardware_config()->vlenb / sizeof(float))
XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_3x8v__rvv, 3, 8, xnn_init_hardware_config()->vlenb / sizeof(float))
#endif  // XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR

XNN_UKERNEL(0, xnn_f32_nmconv_minmax_ukernel_2x4__scalar, 2, 4, 1)
XNN_UKERNEL(0, xnn_f32_nmconv_minmax_ukernel_4x4__scalar, 4, 4, 1)
