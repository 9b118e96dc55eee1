// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of four channels that share one of every M columns, four pixels at a time, then one.

#include "xcv-nm/gather.inc"
#include "xcv/matmul.inc"

// Four kept columns of the pixels a2-a5, with offsets t6, become a word for each: ra, a6, a7, t5.
.macro GATHER4X4 m, first
  .irp place,0,1,2,3
  GATHER \m,ra,a2,t6,(\first+\place)
  GATHER \m,a6,a3,t6,(\first+\place)
  GATHER \m,a7,a4,t6,(\first+\place)
  GATHER \m,t5,a5,t6,(\first+\place)
  .endr
.endm

.macro MULTIPLY weights, x0, x1, x2, x3
  cv.sdotsp.b \x0,\weights,ra
  cv.sdotsp.b \x1,\weights,a6
  cv.sdotsp.b \x2,\weights,a7
  cv.sdotsp.b \x3,\weights,t5
.endm

.macro COLNM m
FUNCTION nm_matmul_colnm\m\()_s8
  ENTER
  lhu t5,FILTER_KEPT(a0)
  sw t5,LOCAL(sp)
  mv t4,a3
  li t5,4
  bltu t4,t5,20f
10:
  BEGIN_GROUP 4
11:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  lw t4,PIXEL_STRIDE(sp)
  BEGIN_TILE 4
  add a3,a2,t4
  add a4,a3,t4
  add a5,a4,t4
  addi a5,a5,-8*\m
  LOOP ra
  cv.lw t6,(a1),4
  cv.lw t4,(a0),4
  addi a5,a5,8*\m
  GATHER4X4 \m,0
  MULTIPLY t4,s0,s1,s2,s3
  cv.lw t4,(a0),4
  MULTIPLY t4,s4,s5,s6,s7
  cv.lw t4,(a0),4
  MULTIPLY t4,s8,s9,s10,s11
  cv.lw t4,(a0),4
  MULTIPLY t4,t0,t1,t2,t3
  cv.lw t4,(a0),4
  GATHER4X4 \m,4
  cv.lw t6,(a0),4
  addi a2,a2,8*\m
  addi a3,a3,8*\m
  MULTIPLY t4,s0,s1,s2,s3
  cv.lw t4,(a0),4
  MULTIPLY t6,s4,s5,s6,s7
  cv.lw t6,(a0),4
  addi a4,a4,8*\m
  MULTIPLY t4,s8,s9,s10,s11
  MULTIPLY t6,t0,t1,t2,t3
92:
  END_TILE 4,11b
  END_GROUP 4,2
  li t5,4
  bgeu t4,t5,10b
20:
  beqz t4,30f
  BEGIN_GROUP 1
21:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  BEGIN_TILE 1
  LOOP ra
  cv.lw t6,(a1),4
  cv.lw t4,(a0),4
  cv.lw t5,(a0),4
  .irp place,0,1,2,3
  GATHER \m,a5,a2,t6,\place
  GATHER \m,a6,a2,t6,(\place+4)
  .endr
  cv.sdotsp.b s0,t4,a5
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t5,a5
  cv.lw t5,(a0),4
  cv.sdotsp.b s8,t4,a5
  cv.lw t4,(a0),4
  cv.sdotsp.b t0,t5,a5
  cv.lw t5,(a0),4
  cv.sdotsp.b s0,t4,a6
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t5,a6
  cv.lw t5,(a0),4
  addi a2,a2,8*\m
  cv.sdotsp.b s8,t4,a6
  cv.sdotsp.b t0,t5,a6
92:
  END_TILE 1,21b
  END_GROUP 1
  bgtz t4,20b
30:
  LEAVE
.endm

COLNM 4
COLNM 8
COLNM 16
