// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_dense4x2_s8
  ENTER
  lhu t5,FILTER_COLUMNS(a0)
  srli t5,t5,2
  sw t5,LOCAL(sp)
  mv t4,a3
  li t5,2
  bltu t4,t5,.Lone
.Lgroup:
  BEGIN_GROUP 2
.Ltile2:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  lw t4,PIXEL_STRIDE(sp)
  BEGIN_TILE 2
  add a3,a2,t4
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw a6,(a2),4
  cv.lw a7,(a3),4
  cv.lw t5,(a0),4
  cv.sdotsp.b s0,t4,a6
  cv.sdotsp.b s1,t4,a7
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t5,a6
  cv.sdotsp.b s5,t5,a7
  cv.lw t5,(a0),4
  cv.sdotsp.b s8,t4,a6
  cv.sdotsp.b s9,t4,a7
  cv.sdotsp.b t0,t5,a6
  cv.sdotsp.b t1,t5,a7
92:
  END_TILE 2,.Ltile2
  END_GROUP 2,1
  li t5,2
  bgeu t4,t5,.Lgroup
.Lone:
  beqz t4,.Ldone
  BEGIN_GROUP 1
.Ltile1:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  BEGIN_TILE 1
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw a6,(a2),4
  cv.lw t5,(a0),4
  cv.sdotsp.b s0,t4,a6
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t5,a6
  cv.lw t5,(a0),4
  cv.sdotsp.b s8,t4,a6
  cv.sdotsp.b t0,t5,a6
92:
  END_TILE 1,.Ltile1
.Ldone:
  LEAVE
