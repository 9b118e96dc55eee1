#!/bin/sh
# Copyright 2026 nmpack authors
#
# This source code is licensed under the BSD-style license found in the
# LICENSE file in the root directory of this source tree.

#################################### Scalar ###################################
tools/xngen src/x32-packim2col/scalar.c.in -D OP=COPY -o src/x32-packim2col/gen/x32-packim2col-scalar.c &
tools/xngen src/x32-packim2col/scalar.c.in -D OP=MAX  -o src/x32-packim2col/gen/f32-maxpool-cnhw-scalar.c &
tools/xngen src/x32-packim2col/scalar.c.in -D OP=ADD  -o src/x32-packim2col/gen/f32-avgpool-cnhw-scalar.c &

################################ RISC-V Vector ################################
tools/xngen src/x32-packim2col/rvv.c.in -D OP=COPY -o src/x32-packim2col/gen/x32-packim2col-rvv.c &
tools/xngen src/x32-packim2col/rvv.c.in -D OP=MAX  -o src/x32-packim2col/gen/f32-maxpool-cnhw-rvv.c &
tools/xngen src/x32-packim2col/rvv.c.in -D OP=ADD  -o src/x32-packim2col/gen/f32-avgpool-cnhw-rvv.c &

################################### x86 AVX2 ##################################
tools/xngen src/x32-packim2col/avx2.c.in -D OP=COPY -o src/x32-packim2col/gen/x32-packim2col-avx2.c &
tools/xngen src/x32-packim2col/avx2.c.in -D OP=MAX  -o src/x32-packim2col/gen/f32-maxpool-cnhw-avx2.c &
tools/xngen src/x32-packim2col/avx2.c.in -D OP=ADD  -o src/x32-packim2col/gen/f32-avgpool-cnhw-avx2.c &

################################# x86 AVX-512F ################################
tools/xngen src/x32-packim2col/avx512f.c.in -D OP=COPY -o src/x32-packim2col/gen/x32-packim2col-avx512f.c &
tools/xngen src/x32-packim2col/avx512f.c.in -D OP=MAX  -o src/x32-packim2col/gen/f32-maxpool-cnhw-avx512f.c &
tools/xngen src/x32-packim2col/avx512f.c.in -D OP=ADD  -o src/x32-packim2col/gen/f32-avgpool-cnhw-avx512f.c &

################################### Arm NEON ##################################
tools/xngen src/x32-packim2col/neon.c.in -D OP=COPY -o src/x32-packim2col/gen/x32-packim2col-neon.c &
tools/xngen src/x32-packim2col/neon.c.in -D OP=MAX  -o src/x32-packim2col/gen/f32-maxpool-cnhw-neon.c &
tools/xngen src/x32-packim2col/neon.c.in -D OP=ADD  -o src/x32-packim2col/gen/f32-avgpool-cnhw-neon.c &

wait
