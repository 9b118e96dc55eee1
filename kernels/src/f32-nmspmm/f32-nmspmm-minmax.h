// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// One row a micro-kernel: declaration, test and benchmark are made from it.
// XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense): mr output channels of up to nr * nr_scale pixels.

XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_1x8__scalar, 1, 8, 1, false)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_2x8__scalar, 2, 8, 1, false)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_3x8__scalar, 3, 8, 1, false)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_4x8__scalar, 4, 8, 1, false)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_1x8__scalar_dense, 1, 8, 1, true)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_2x8__scalar_dense, 2, 8, 1, true)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_3x8__scalar_dense, 3, 8, 1, true)
XNN_UKERNEL(0, xnn_f32_nmspmm_minmax_ukernel_4x8__scalar_dense, 4, 8, 1, true)
