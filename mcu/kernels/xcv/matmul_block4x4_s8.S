// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_block4x4_s8
  ENTER
  mv t4,a3
.Lgroup:
  cv.beqimm t4,1,.Lone
  lw t5,PIXEL_STRIDE(sp)  // of the other pixels from the first, 0 for those that are not
  li a2,0
  li a3,0
  li a4,0
  addi t6,t4,-2
  bltz t6,.Lstrides
  mv a2,t5
  beqz t6,.Lstrides
  add a3,t5,t5
  addi t6,t6,-2
  bltz t6,.Lstrides
  add a4,a3,t5
.Lstrides:
  sw a2,LOCAL(sp)
  sw a3,LOCAL+4(sp)
  sw a4,LOCAL+8(sp)
  BEGIN_GROUP 4
.Ltile:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  lw a2,PIXELS(sp)
  lw a3,LOCAL(sp)
  lw a4,LOCAL+4(sp)
  lw a5,LOCAL+8(sp)
  add a2,a2,t4
  BEGIN_TILE 4
  beqz ra,.Lmultiplied
  LOOP ra
  cv.lbu t4,(a1),1
  cv.lw a6,a3(a2)
  cv.lw a7,a4(a2)
  cv.lw t5,a5(a2)
  cv.lw ra,(a2),t4
  cv.lw t4,(a0),4
  cv.lw t6,(a0),4
  cv.sdotsp.b s0,t4,ra
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
  addi a1,a1,3
  andi a1,a1,-4
.Lmultiplied:
  END_TILE 4,.Ltile
  END_GROUP 4,2
  bgtz t4,.Lgroup
  j .Ldone
.Lone:
  BEGIN_GROUP 1
.Ltile1:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  lw a2,PIXELS(sp)
  BEGIN_TILE 1
  add a2,a2,t4
  beqz ra,.Lmultiplied1
  LOOP ra
  cv.lbu t4,(a1),1
  cv.lw t5,(a0),4
  cv.lw a6,(a2),t4
  cv.lw t4,(a0),4
  cv.sdotsp.b s0,t5,a6
  cv.lw t5,(a0),4
  cv.sdotsp.b s4,t4,a6
  cv.lw t4,(a0),4
  cv.sdotsp.b s8,t5,a6
  cv.sdotsp.b t0,t4,a6
92:
  addi a1,a1,3
  andi a1,a1,-4
.Lmultiplied1:
  END_TILE 1,.Ltile1
.Ldone:
  LEAVE
