// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_col8x4_s8
  ENTER
  mv t4,a3
.Lgroup:
  BEGIN_GROUP 4
.Ltile:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  lw a2,PIXELS(sp)
  lw t5,SCRATCH(sp)
  sw ra,LOCAL(sp)
  BEGIN_TILE 4
  add a2,a2,t4
  li a3,SHUFFLE_EVEN
  li a4,SHUFFLE_ODD
  beqz ra,.Lfirst
  LOOP ra
  GATHER4
  cv.sw ra,(t5),4
  cv.sw a6,(t5),4
  cv.sw a7,(t5),4
  cv.sw a5,(t5),4
  MULTIPLY4X4
92:
.Lfirst:
  END_TILE 4,.Lsecond
  j .Lnext
.Lsecond:
  lw ra,LOCAL(sp)
  lw t5,SCRATCH(sp)
  BEGIN_TILE 4
  beqz ra,.Lmultiplied
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw ra,(t5),4
  cv.lw a6,(t5),4
  cv.lw a7,(t5),4
  cv.lw a5,(t5),4
  MULTIPLY4X4
92:
.Lmultiplied:
  END_TILE 4,.Ltile
.Lnext:
  END_GROUP 4
  bgtz t4,.Lgroup
  LEAVE
