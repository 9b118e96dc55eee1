#!/bin/sh
# Copyright 2026 nmpack authors
#
# This source code is licensed under the BSD-style license found in the
# LICENSE file in the root directory of this source tree.

################################ RISC-V Vector ################################
tools/xngen src/f16-maxpool/rvvfp16arith.c.in -D LMUL=2 -o src/f16-maxpool/gen/f16-maxpool-9p8x-minmax-rvvfp16arith-c2v.c &
tools/xngen src/f16-maxpool/rvvfp16arith.c.in -D LMUL=4 -o src/f16-maxpool/gen/f16-maxpool-9p8x-minmax-rvvfp16arith-c4v.c &

wait
