// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_dense1x2_s8
  ENTER
  lhu t5,FILTER_COLUMNS(a0)
  srli t5,t5,2
  sw t5,LOCAL(sp)
  mv t4,a3
.Lgroup:
  BEGIN_ROWS 2
  li a4,0
  beqz s8,.Lrow
  lw a4,PIXEL_STRIDE(sp)
.Lrow:
  lw ra,LOCAL(sp)
  cv.lw s0,(s4),4
  mv a2,t3
  add a3,t3,a4
  mv s1,s0
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw a5,(a2),4
  cv.lw a6,(a3),4
  cv.sdotsp.b s0,t4,a5
  cv.sdotsp.b s1,t4,a6
92:
  END_ROW 2,.Lrow
  END_GROUP 2,1
  bgtz t4,.Lgroup
  LEAVE
