#!/bin/sh
# Copyright 2026 nmpack authors
#
# This source code is licensed under the BSD-style license found in the
# LICENSE file in the root directory of this source tree.

################################ RISC-V Vector ################################
tools/xngen src/f16-avgpool/rvvfp16arith.c.in -D PIXELWISE=0 -D MULTIPASS=0 -D LMUL=2 -o src/f16-avgpool/gen/f16-avgpool-9x-minmax-rvvfp16arith-c2v.c &
tools/xngen src/f16-avgpool/rvvfp16arith.c.in -D PIXELWISE=0 -D MULTIPASS=1 -D LMUL=2 -o src/f16-avgpool/gen/f16-avgpool-9p8x-minmax-rvvfp16arith-c2v.c &
tools/xngen src/f16-avgpool/rvvfp16arith.c.in -D PIXELWISE=1 -D MULTIPASS=0 -D LMUL=2 -o src/f16-pavgpool/gen/f16-pavgpool-9x-minmax-rvvfp16arith-c2v.c &
tools/xngen src/f16-avgpool/rvvfp16arith.c.in -D PIXELWISE=1 -D MULTIPASS=1 -D LMUL=2 -o src/f16-pavgpool/gen/f16-pavgpool-9p8x-minmax-rvvfp16arith-c2v.c &

wait
