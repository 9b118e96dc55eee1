// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// struct nm_arithmetic_s8
#define MULTIPLIER_OF_OUTPUT 96
#define LEFT 100
#define RIGHT 101
#define X_ZERO_POINT 104
#define Y_ZERO_POINT 106
#define OUTPUT_ZERO_POINT 108
#define LOW 112
#define HIGH 113

// void nm_mul_row_s8(p, count, x, x_stride, y, y_stride, output)
FUNCTION nm_mul_row_s8
  beqz a1,2f
  addi sp,sp,-32
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  sw s4,16(sp)
  sw s5,20(sp)
  sw s6,24(sp)
  sw ra,28(sp)
  lw s0,MULTIPLIER_OF_OUTPUT(a0)
  lbu s1,LEFT(a0)
  lbu s2,RIGHT(a0)
  lh s3,OUTPUT_ZERO_POINT(a0)
  lb s4,LOW(a0)
  lb s5,HIGH(a0)
  lh t5,X_ZERO_POINT(a0)
  lh t6,Y_ZERO_POINT(a0)
  snez s6,s2
  neg s6,s6
  mv t4,a1
  LOOP t4
  cv.lb t0,(a2),a3
  cv.lb t1,(a4),a5
  sub t0,t0,t5
  sub t1,t1,t6
  mul t0,t0,t1
  sll t0,t0,s1
  mul t1,t0,s0
  mulhsu t0,t0,s0
  srli t1,t1,31
  add t0,t0,t1
  srai t1,t0,31
  and t1,t1,s6
  cv.addrnr t0,t1,s2
  add t0,t0,s3
  cv.max t0,t0,s4
  cv.min t0,t0,s5
  cv.sb t0,(a6),1
92:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  lw s4,16(sp)
  lw s5,20(sp)
  lw s6,24(sp)
  lw ra,28(sp)
  addi sp,sp,32
  ret
2:
  ret
