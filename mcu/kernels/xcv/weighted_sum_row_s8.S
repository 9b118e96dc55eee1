// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/row.inc"

// struct nm_weighted_sum_s8
#define X_FACTOR 80
#define Y_FACTOR 84
#define OFFSET 88
#define RIGHT 92
#define LOW 93
#define HIGH 94

// void nm_weighted_sum_row_s8(p, count, x, x_stride, y, y_stride, output)
FUNCTION nm_weighted_sum_row_s8
  beqz a1,9f
  addi sp,sp,-16
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  LOAD_RANGE LOW,HIGH
  lb t3,RIGHT(a0)
  lw t5,OFFSET(a0)
  lw t6,Y_FACTOR(a0)
  lw a0,X_FACTOR(a0)
  bnez a3,1f
  EXCHANGE
  mv t0,t6
  mv t6,a0
  mv a0,t0
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
  cv.lb a7,(a4),a5
  mul s0,s0,a0
  mul s1,s1,a0
  mul s2,s2,a0
  mul s3,s3,a0
  cv.mac s0,t0,t6
  cv.lb t0,(a4),a5
  cv.mac s1,a7,t6
  cv.lb a7,(a4),a5
  cv.mac s2,t0,t6
  cv.addnr s0,t5,t3
  cv.mac s3,a7,t6
  cv.addnr s1,t5,t3
  cv.addnr s2,t5,t3
  cv.addnr s3,t5,t3
  STORE_FOUR s0,s1,s2,s3
92:
2:
  beqz a1,8f
3:
  cv.lb s0,(a2),a3
  cv.lb t0,(a4),a5
  mul s0,s0,a0
  cv.mac s0,t0,t6
  addi a1,a1,-1
  cv.addnr s0,t5,t3
  STORE_ONE s0
  bnez a1,3b
  j 8f
4:  // one y for all
  lb a4,0(a4)
  cv.mac t5,a4,t6
  beqz t4,5f
  LOOP t4
  cv.lb s0,(a2),a3
  cv.lb s1,(a2),a3
  cv.lb s2,(a2),a3
  cv.lb s3,(a2),a3
  mul s0,s0,a0
  mul s1,s1,a0
  mul s2,s2,a0
  mul s3,s3,a0
  cv.addnr s0,t5,t3
  cv.addnr s1,t5,t3
  cv.addnr s2,t5,t3
  cv.addnr s3,t5,t3
  STORE_FOUR s0,s1,s2,s3
92:
5:
  beqz a1,8f
6:
  cv.lb s0,(a2),a3
  addi a1,a1,-1
  mul s0,s0,a0
  cv.addnr s0,t5,t3
  STORE_ONE s0
  bnez a1,6b
8:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  addi sp,sp,16
9:
  ret
