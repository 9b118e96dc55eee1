// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_dense4x4_s8
  ENTER
  lhu t5,FILTER_COLUMNS(a0)
  srli t5,t5,2
  sw t5,LOCAL(sp)
  mv t4,a3
  li t5,4
  bltu t4,t5,.Lfew
.Lgroup:
  BEGIN_GROUP 4
.Ltile4:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  lw t4,PIXEL_STRIDE(sp)
  BEGIN_TILE 4
  add a3,a2,t4
  add a4,a3,t4
  add a5,a4,t4
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw ra,(a2),4
  cv.lw a6,(a3),4
  cv.lw a7,(a4),4
  cv.lw t5,(a5),4
  cv.sdotsp.b s0,t4,ra
  cv.lw t6,(a0),4
  cv.sdotsp.b s1,t4,a6
  cv.sdotsp.b s2,t4,a7
  cv.sdotsp.b s3,t4,t5
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t6,ra
  cv.sdotsp.b s5,t6,a6
  cv.sdotsp.b s6,t6,a7
  cv.sdotsp.b s7,t6,t5
  cv.lw t6,(a0),4
  cv.sdotsp.b s8,t4,ra
  cv.sdotsp.b s9,t4,a6
  cv.sdotsp.b s10,t4,a7
  cv.sdotsp.b s11,t4,t5
  cv.sdotsp.b t0,t6,ra
  cv.sdotsp.b t1,t6,a6
  cv.sdotsp.b t2,t6,a7
  cv.sdotsp.b t3,t6,t5
92:
  END_TILE 4,.Ltile4
  END_GROUP 4,2
  li t5,4
  bgeu t4,t5,.Lgroup
.Lfew:
  li t5,2
  bltu t4,t5,.Lone
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
