// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_col4x4_s8
  ENTER
  mv t4,a3
.Lgroup:
  BEGIN_GROUP 4
.Ltile:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  lw a2,PIXELS(sp)
  BEGIN_TILE 4
  add a2,a2,t4
  li a3,SHUFFLE_EVEN
  li a4,SHUFFLE_ODD
  beqz ra,.Lmultiplied
  LOOP ra
  GATHER4
  MULTIPLY4X4
92:
.Lmultiplied:
  END_TILE 4,.Ltile
  END_GROUP 4
  bgtz t4,.Lgroup
  LEAVE
