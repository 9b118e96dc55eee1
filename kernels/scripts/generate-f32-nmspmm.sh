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
