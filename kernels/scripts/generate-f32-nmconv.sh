#!/bin/sh
# Copyright 2026 nmpack authors
#
# This source code is licensed under the BSD-style license found in the
# LICENSE file in the root directory of this source tree.

#################################### Scalar ###################################
tools/xngen src/f32-nmconv/scalar.c.in -D MR=2 -D NR=4 -o src/f32-nmconv/gen/f32-nmconv-2x4-minmax-scalar.c &
tools/xngen src/f32-nmconv/scalar.c.in -D MR=4 -D NR=4 -o src/f32-nmconv/gen/f32-nmconv-4x4-minmax-scalar.c &

################################# RISC-V Vector ###############################
tools/xngen src/f32-nmconv/rvv.c.in -D LMUL=1 -D MR=14 -o src/f32-nmconv/gen/f32-nmconv-14x1v-minmax-rvv.c &
tools/xngen src/f32-nmconv/rvv.c.in -D LMUL=2 -D MR=7  -o src/f32-nmconv/gen/f32-nmconv-7x2v-minmax-rvv.c &
tools/xngen src/f32-nmconv/rvv.c.in -D LMUL=2 -D MR=14 -o src/f32-nmconv/gen/f32-nmconv-14x2v-minmax-rvv.c &
tools/xngen src/f32-nmconv/rvv.c.in -D LMUL=4 -D MR=7  -o src/f32-nmconv/gen/f32-nmconv-7x4v-minmax-rvv.c &
tools/xngen src/f32-nmconv/rvv.c.in -D LMUL=8 -D MR=3  -o src/f32-nmconv/gen/f32-nmconv-3x8v-minmax-rvv.c &

################################## x86 FMA3 ###################################
tools/xngen src/f32-nmconv/fma3.c.in -D MR=6  -D NR=16 -o src/f32-nmconv/gen/f32-nmconv-6x16-minmax-fma3.c &
tools/xngen src/f32-nmconv/fma3.c.in -D MR=10 -D NR=8  -o src/f32-nmconv/gen/f32-nmconv-10x8-minmax-fma3.c &

################################ x86 AVX-512F #################################
tools/xngen src/f32-nmconv/avx512f.c.in -D MR=7  -D NR=32 -o src/f32-nmconv/gen/f32-nmconv-7x32-minmax-avx512f.c &
tools/xngen src/f32-nmconv/avx512f.c.in -D MR=14 -D NR=32 -o src/f32-nmconv/gen/f32-nmconv-14x32-minmax-avx512f.c &
tools/xngen src/f32-nmconv/avx512f.c.in -D MR=10 -D NR=16 -o src/f32-nmconv/gen/f32-nmconv-10x16-minmax-avx512f.c &

wait
