#!/bin/sh
# Copyright 2026 nmpack authors
#
# This source code is licensed under the BSD-style license found in the
# LICENSE file in the root directory of this source tree.

#################################### Scalar ###################################
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=1  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x8-minmax-scalar.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=1  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x8-minmax-scalar-dense.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=2  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x8-minmax-scalar.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=2  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x8-minmax-scalar-dense.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=3  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x8-minmax-scalar.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=3  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x8-minmax-scalar-dense.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=4  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x8-minmax-scalar.c &
tools/xngen src/f32-nmspmm/scalar.c.in -D MR=4  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x8-minmax-scalar-dense.c &
wait

################################ RISC-V Vector ################################
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=4  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=4  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=5  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=5  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=6  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=6  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=7  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-7x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=7  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-7x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=8  -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-8x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=8  -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-8x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=16 -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-16x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=16 -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-16x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=28 -D LMUL=1 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-28x1v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=28 -D LMUL=1 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-28x1v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=4  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=4  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=5  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=5  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=6  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=6  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=7  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-7x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=7  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-7x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=8  -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-8x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=8  -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-8x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=12 -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-12x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=12 -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-12x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=14 -D LMUL=2 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-14x2v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=14 -D LMUL=2 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-14x2v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=4  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=4  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=5  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=5  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=6  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=6  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=7  -D LMUL=4 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-7x4v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=7  -D LMUL=4 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-7x4v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x8v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=1  -D LMUL=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x8v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x8v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=2  -D LMUL=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x8v-minmax-rvv-dense.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x8v-minmax-rvv.c &
tools/xngen src/f32-nmspmm/rvv.c.in -D MR=3  -D LMUL=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x8v-minmax-rvv-dense.c &
wait

################################### x86 FMA3 ##################################
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=1  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x16-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=1  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x16-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=2  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x16-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=2  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x16-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=3  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x16-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=3  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x16-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=4  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x16-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=4  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x16-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=5  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x16-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=5  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x16-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=6  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x16-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=6  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x16-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=1  -D NR=24 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x24-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=1  -D NR=24 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x24-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=2  -D NR=24 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x24-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=2  -D NR=24 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x24-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=3  -D NR=24 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x24-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=3  -D NR=24 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x24-minmax-fma3-dense.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=4  -D NR=24 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x24-minmax-fma3.c &
tools/xngen src/f32-nmspmm/fma3.c.in -D MR=4  -D NR=24 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x24-minmax-fma3-dense.c &
wait

################################# x86 AVX-512F ################################
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=1  -D NR=64 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x64-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=1  -D NR=64 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x64-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=2  -D NR=64 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x64-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=2  -D NR=64 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x64-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=3  -D NR=64 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x64-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=3  -D NR=64 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x64-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=4  -D NR=64 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x64-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=4  -D NR=64 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x64-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=5  -D NR=64 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x64-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=5  -D NR=64 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x64-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=6  -D NR=64 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x64-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=6  -D NR=64 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x64-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=1  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=1  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=2  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=2  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=3  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=3  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=4  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=4  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=5  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=5  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=6  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=6  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=7  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-7x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=7  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-7x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=8  -D NR=48 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-8x48-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=8  -D NR=48 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-8x48-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=1  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=1  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=2  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=2  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=3  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=3  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=4  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=4  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=5  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=5  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=6  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=6  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=7  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-7x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=7  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-7x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=8  -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-8x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=8  -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-8x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=14 -D NR=32 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-14x32-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=14 -D NR=32 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-14x32-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=14 -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-14x16-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=14 -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-14x16-minmax-avx512f-dense.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=28 -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-28x16-minmax-avx512f.c &
tools/xngen src/f32-nmspmm/avx512f.c.in -D MR=28 -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-28x16-minmax-avx512f-dense.c &
wait

################################### Arm NEON ##################################
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=1  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=1  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=2  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=2  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=3  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=3  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=4  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=4  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=5  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=5  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=6  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=6  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=7  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-7x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=7  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-7x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=8  -D NR=8 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-8x8-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=8  -D NR=8 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-8x8-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=1  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-1x16-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=1  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-1x16-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=2  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-2x16-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=2  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-2x16-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=3  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-3x16-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=3  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-3x16-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=4  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-4x16-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=4  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-4x16-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=5  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-5x16-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=5  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-5x16-minmax-neonfma-dense.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=6  -D NR=16 -D DENSE=0 -o src/f32-nmspmm/gen/f32-nmspmm-6x16-minmax-neonfma.c &
tools/xngen src/f32-nmspmm/neonfma.c.in -D MR=6  -D NR=16 -D DENSE=1 -o src/f32-nmspmm/gen/f32-nmspmm-6x16-minmax-neonfma-dense.c &
wait
