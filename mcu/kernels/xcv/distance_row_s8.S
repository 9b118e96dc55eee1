// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// struct nm_distance_s8
#define X_TABLE 80
#define Y_TABLE 84
#define FACTOR 88
#define OFFSET 92
#define RIGHT 96
#define LOW 97
#define HIGH 98

// void nm_distance_row_s8(p, count, x, x_stride, y, y_stride, output)
FUNCTION nm_distance_row_s8
  beqz a1,2f
  addi sp,sp,-32
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  sw ra,16(sp)
  lw t5,X_TABLE(a0)
  lw t6,Y_TABLE(a0)
  lw s0,FACTOR(a0)
  lw s1,OFFSET(a0)
  lb s2,RIGHT(a0)
  lb s3,LOW(a0)
  lb ra,HIGH(a0)
  addi t5,t5,256
  addi t6,t6,256
  mv t4,a1
  LOOP t4
  cv.lb t0,(a2),a3
  cv.lb t1,(a4),a5
  slli t0,t0,1
  slli t1,t1,1
  cv.lh t0,t0(t5)
  cv.lh t1,t1(t6)
  sub t0,t0,t1
  mul t0,t0,t0
  mulh t0,t0,s0
  add t0,t0,s1
  sra t0,t0,s2
  cv.max t0,t0,s3
  cv.min t0,t0,ra
  cv.sb t0,(a6),1
92:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  lw ra,16(sp)
  addi sp,sp,32
  ret
2:
  ret
