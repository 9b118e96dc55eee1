// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_dense1x2_s8
  ENTER
  lhu t5,FILTER_COLUMNS(a0)
  srli t5,t5,2
  sw t5,LOCAL(sp)
  mv t4,a3
  li t5,2
  bltu t4,t5,.Lone
.Lgroup:
  BEGIN_ROWS 2
  lw a4,PIXEL_STRIDE(sp)
.Lrow2:
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
  END_ROW 2,.Lrow2
  END_GROUP 2,1
  li t5,2
  bgeu t4,t5,.Lgroup
.Lone:
  beqz t4,.Ldone
  BEGIN_ROWS 1
.Lrow1:
  lw t4,LOCAL(sp)
  cv.lw s0,(s4),4
  mv a2,t3
  srli ra,t4,1
  andi t4,t4,1
  beqz t4,.Leven
  cv.lw t4,(a0),4
  cv.lw a5,(a2),4
  cv.sdotsp.b s0,t4,a5
.Leven:
  beqz ra,.Lmultiplied
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw a5,(a2),4
  cv.lw t5,(a0),4
  cv.lw a6,(a2),4
  cv.sdotsp.b s0,t4,a5
  cv.sdotsp.b s0,t5,a6
92:
.Lmultiplied:
  END_ROW 1,.Lrow1
.Ldone:
  LEAVE
