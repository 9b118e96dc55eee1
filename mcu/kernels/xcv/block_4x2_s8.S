// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// struct nm_batch_matmul_s8
#define DEPTH 4
#define SCALE 8
#define LEFT 12
#define RIGHT 13
#define OUTPUT_ZERO_POINT 16

// The byte of a sum.
.macro BYTE sum,at
  sll \sum,\sum,t2
  mul a4,\sum,t0
  mulhsu \sum,\sum,t0
  srli a4,a4,31
  add \sum,\sum,a4
  srai a4,\sum,31
  and a4,a4,t3
  cv.addrnr \sum,a4,t1
  add \sum,\sum,t5
  cv.clip \sum,\sum,8
  sb \sum,\at(a6)
.endm

// void nm_block_4x2_s8(p, x, y, y_stride, x_sums, y_sums, output, output_stride)
FUNCTION nm_block_4x2_s8
  addi sp,sp,-32
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  sw s4,16(sp)
  sw s5,20(sp)
  sw s6,24(sp)
  sw s7,28(sp)
  lw t0,0(a4)
  lw t1,4(a4)
  lw t2,8(a4)
  lw t3,12(a4)
  lw t5,0(a5)
  lw t6,4(a5)
  lw t4,DEPTH(a0)
  add s0,t0,t5
  add s1,t0,t6
  add s2,t1,t5
  add s3,t1,t6
  add s4,t2,t5
  add s5,t2,t6
  add s6,t3,t5
  add s7,t3,t6
  add t0,a1,t4
  add t1,t0,t4
  add t2,t1,t4
  add a3,a2,a3
  srli t4,t4,2
  beqz t4,1f
  LOOP t4
  cv.lw a4,(a2),4
  cv.lw a5,(a3),4
  cv.lw t3,(a1),4
  cv.lw t5,(t0),4
  cv.sdotsp.b s0,t3,a4
  cv.sdotsp.b s1,t3,a5
  cv.lw t6,(t1),4
  cv.sdotsp.b s2,t5,a4
  cv.sdotsp.b s3,t5,a5
  cv.lw t3,(t2),4
  cv.sdotsp.b s4,t6,a4
  cv.sdotsp.b s5,t6,a5
  cv.sdotsp.b s6,t3,a4
  cv.sdotsp.b s7,t3,a5
92:
1:
  lw t4,DEPTH(a0)
  andi t4,t4,3
  beqz t4,3f
2:
  cv.lb a4,(a2),1
  cv.lb a5,(a3),1
  cv.lb t3,(a1),1
  cv.lb t5,(t0),1
  cv.mac s0,t3,a4
  cv.mac s1,t3,a5
  cv.lb t6,(t1),1
  cv.mac s2,t5,a4
  cv.mac s3,t5,a5
  cv.lb t3,(t2),1
  cv.mac s4,t6,a4
  cv.mac s5,t6,a5
  addi t4,t4,-1
  cv.mac s6,t3,a4
  cv.mac s7,t3,a5
  bnez t4,2b
3:
  lw t0,SCALE(a0)
  lbu t2,LEFT(a0)
  lbu t1,RIGHT(a0)
  lh t5,OUTPUT_ZERO_POINT(a0)
  snez t3,t1
  neg t3,t3
  BYTE s0,0
  BYTE s1,1
  add a6,a6,a7
  BYTE s2,0
  BYTE s3,1
  add a6,a6,a7
  BYTE s4,0
  BYTE s5,1
  add a6,a6,a7
  BYTE s6,0
  BYTE s7,1
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  lw s4,16(sp)
  lw s5,20(sp)
  lw s6,24(sp)
  lw s7,28(sp)
  addi sp,sp,32
  ret
