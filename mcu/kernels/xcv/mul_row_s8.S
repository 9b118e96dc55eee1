// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/row.inc"

// struct nm_arithmetic_s8
#define MULTIPLIER_OF_OUTPUT 96
#define LEFT 100
#define RIGHT 101
#define X_ZERO_POINT 104
#define Y_ZERO_POINT 106
#define OUTPUT_ZERO_POINT 108
#define LOW 112
#define HIGH 113
#define FINE_MULTIPLIER 116
#define FINE_OFFSET 120
#define FINE_AWAY 124
#define FINE_LEFT 128
#define FINE_RIGHT 129

// What becomes of a product that is shifted to the left.
.macro FINE product
  mulhsu \product,\product,a0
  srai t0,\product,31
  cv.mac \product,t0,s7
  cv.addrnr \product,s4,s5
.endm

.macro FINE_FOUR
  FINE s0
  FINE s1
  FINE s2
  FINE s3
  STORE_FOUR s0,s1,s2,s3
.endm

// void nm_mul_row_s8(p, count, x, x_stride, y, y_stride, output)
FUNCTION nm_mul_row_s8
  beqz a1,9f
  addi sp,sp,-32
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  sw s4,16(sp)
  sw s5,20(sp)
  sw s6,24(sp)
  sw s7,28(sp)
  LOAD_RANGE LOW,HIGH
  lh t5,X_ZERO_POINT(a0)
  lh t6,Y_ZERO_POINT(a0)
  lbu s5,FINE_RIGHT(a0)
  beqz s5,7f
  lw s4,FINE_OFFSET(a0)
  lbu s6,FINE_LEFT(a0)
  lw s7,FINE_AWAY(a0)
  lw a0,FINE_MULTIPLIER(a0)
  bnez a3,1f
  EXCHANGE
  mv t0,t5
  mv t5,t6
  mv t6,t0
1:
  srli t4,a1,2
  andi a1,a1,3
  beqz a5,4f
  beqz t4,2f
  LOOP t4
  cv.lb s0,(a2),a3
  cv.lb s1,(a2),a3
  cv.lb s2,(a2),a3
  cv.lb s3,(a2),a3
  cv.lb t0,(a4),a5
  cv.lb t3,(a4),a5
  sub s0,s0,t5
  sub t0,t0,t6
  sll t0,t0,s6
  mul s0,s0,t0
  cv.lb t0,(a4),a5
  sub s1,s1,t5
  sub t3,t3,t6
  sll t3,t3,s6
  mul s1,s1,t3
  cv.lb t3,(a4),a5
  sub s2,s2,t5
  sub t0,t0,t6
  sll t0,t0,s6
  mul s2,s2,t0
  sub s3,s3,t5
  sub t3,t3,t6
  sll t3,t3,s6
  mul s3,s3,t3
  FINE_FOUR
92:
2:
  beqz a1,8f
3:
  cv.lb s0,(a2),a3
  cv.lb t0,(a4),a5
  sub s0,s0,t5
  sub t0,t0,t6
  sll t0,t0,s6
  mul s0,s0,t0
  addi a1,a1,-1
  FINE s0
  STORE_ONE s0
  bnez a1,3b
  j 8f
4:  // one y for all
  lb a4,0(a4)
  sub a4,a4,t6
  sll a4,a4,s6
  beqz t4,5f
  LOOP t4
  cv.lb s0,(a2),a3
  cv.lb s1,(a2),a3
  cv.lb s2,(a2),a3
  cv.lb s3,(a2),a3
  sub s0,s0,t5
  sub s1,s1,t5
  sub s2,s2,t5
  sub s3,s3,t5
  mul s0,s0,a4
  mul s1,s1,a4
  mul s2,s2,a4
  mul s3,s3,a4
  FINE_FOUR
92:
5:
  beqz a1,8f
6:
  cv.lb s0,(a2),a3
  addi a1,a1,-1
  sub s0,s0,t5
  mul s0,s0,a4
  FINE s0
  STORE_ONE s0
  bnez a1,6b
8:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  lw s4,16(sp)
  lw s5,20(sp)
  lw s6,24(sp)
  lw s7,28(sp)
  addi sp,sp,32
9:
  ret
7:  // with TFLite's two roundings after one another
  lw s0,MULTIPLIER_OF_OUTPUT(a0)
  lbu s1,LEFT(a0)
  lbu s2,RIGHT(a0)
  lh s3,OUTPUT_ZERO_POINT(a0)
  snez s6,s2
  neg s6,s6
  mv t4,a1
  LOOP t4
  cv.lb t0,(a2),a3
  cv.lb t3,(a4),a5
  sub t0,t0,t5
  sub t3,t3,t6
  mul t0,t0,t3
  sll t0,t0,s1
  mul t3,t0,s0
  mulhsu t0,t0,s0
  srli t3,t3,31
  add t0,t0,t3
  srai t3,t0,31
  and t3,t3,s6
  cv.addrnr t0,t3,s2
  add t0,t0,s3
  STORE_ONE t0
92:
  j 8b
