// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/row.inc"

// struct nm_table_sum_s8
#define X_TABLE 80
#define Y_TABLE_OF_SUM 84
#define RIGHT 88
#define LOW 89
#define HIGH 90

// void nm_table_sum_row_s8(p, count, x, x_stride, y, y_stride, output)
FUNCTION nm_table_sum_row_s8
  beqz a1,9f
  addi sp,sp,-16
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  LOAD_RANGE LOW,HIGH
  lb t5,RIGHT(a0)
  lw t6,Y_TABLE_OF_SUM(a0)
  lw a0,X_TABLE(a0)
  srli t4,a1,2
  andi a1,a1,3
  beqz t4,2f
  LOOP t4
  cv.lbu s0,(a2),a3
  cv.lbu s1,(a2),a3
  cv.lbu s2,(a2),a3
  cv.lbu s3,(a2),a3
  slli s0,s0,2
  slli s1,s1,2
  slli s2,s2,2
  slli s3,s3,2
  cv.lbu t0,(a4),a5
  cv.lbu t3,(a4),a5
  cv.lw s0,s0(a0)
  slli t0,t0,2
  cv.lw t0,t0(t6)
  slli t3,t3,2
  cv.lw t3,t3(t6)
  add s0,s0,t0
  cv.lbu t0,(a4),a5
  cv.lw s1,s1(a0)
  slli t0,t0,2
  cv.lw t0,t0(t6)
  add s1,s1,t3
  cv.lbu t3,(a4),a5
  cv.lw s2,s2(a0)
  slli t3,t3,2
  cv.lw t3,t3(t6)
  cv.lw s3,s3(a0)
  add s2,s2,t0
  sra s0,s0,t5
  add s3,s3,t3
  sra s1,s1,t5
  sra s2,s2,t5
  sra s3,s3,t5
  STORE_FOUR s0,s1,s2,s3
92:
2:
  beqz a1,8f
3:
  cv.lbu s0,(a2),a3
  cv.lbu t0,(a4),a5
  slli s0,s0,2
  slli t0,t0,2
  cv.lw s0,s0(a0)
  cv.lw t0,t0(t6)
  addi a1,a1,-1
  add s0,s0,t0
  sra s0,s0,t5
  STORE_ONE s0
  bnez a1,3b
8:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  addi sp,sp,16
9:
  ret
