// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_col8x1_s8
  ENTER
  mv t4,a3
.Lgroup:
  BEGIN_GROUP 1
.Ltile:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  lw a2,PIXELS(sp)
  BEGIN_TILE 1
  lw s1,0(a7)  // the other four channels are in the second column of sums
  lw s5,4(a7)
  lw s9,8(a7)
  lw t1,12(a7)
  addi a7,a7,16
  sw a7,BIAS(sp)
  add a2,a2,t4
  beqz ra,.Lmultiplied
  LOOP ra
  cv.lbu t4,(a1),1
  cv.lbu t5,(a1),1
  cv.lbu a5,(a2),t4
  cv.lbu t4,(a1),1
  cv.lbu a6,(a2),t5
  cv.lbu t5,(a1),1
  cv.lbu a7,(a2),t4
  cv.packlo.b a5,a6,a5
  cv.lbu a6,(a2),t5
  cv.lw t4,(a0),4
  cv.packhi.b a5,a6,a7
  cv.lw t5,(a0),4
  cv.sdotsp.b s0,t4,a5
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t5,a5
  cv.lw t5,(a0),4
  cv.sdotsp.b s8,t4,a5
  cv.lw t4,(a0),4
  cv.sdotsp.b t0,t5,a5
  cv.lw t5,(a0),4
  cv.sdotsp.b s1,t4,a5
  cv.lw t4,(a0),4
  cv.sdotsp.b s5,t5,a5
  cv.lw t5,(a0),4
  cv.sdotsp.b s9,t4,a5
  cv.sdotsp.b t1,t5,a5
92:
.Lmultiplied:
  END_TILE 1,.Lsecond
  j .Lnext
.Lsecond:
  mv s0,s1
  mv s4,s5
  mv s8,s9
  mv t0,t1
  END_TILE 1,.Ltile
.Lnext:
  END_GROUP 1
  bgtz t4,.Lgroup
  LEAVE
