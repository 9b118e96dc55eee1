// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// struct nm_weighted_sum_s8
#define X_FACTOR 80
#define Y_FACTOR 84
#define OFFSET 88
#define RIGHT 92
#define LOW 93
#define HIGH 94

.macro FINISH sum
  sra \sum,\sum,s0
  cv.max \sum,\sum,s1
  cv.min \sum,\sum,s2
  cv.sb \sum,(a6),1
.endm

// void nm_weighted_sum_row_s8(p, count, x, x_stride, y, y_stride, output)
FUNCTION nm_weighted_sum_row_s8
  addi sp,sp,-16
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw ra,12(sp)
  lb s0,RIGHT(a0)
  lb s1,LOW(a0)
  lb s2,HIGH(a0)
  lw t5,OFFSET(a0)
  lw ra,Y_FACTOR(a0)
  lw a0,X_FACTOR(a0)
  srli t4,a1,1
  beqz t4,1f
  LOOP t4
  cv.lb t0,(a2),a3
  cv.lb t1,(a4),a5
  cv.lb a7,(a2),a3
  cv.lb t6,(a4),a5
  mv t2,t5
  mv t3,t5
  cv.mac t2,t0,a0
  cv.mac t3,a7,a0
  cv.mac t2,t1,ra
  cv.mac t3,t6,ra
  FINISH t2
  FINISH t3
92:
1:
  andi a1,a1,1
  beqz a1,2f
  lb t0,0(a2)
  lb t1,0(a4)
  mv t2,t5
  cv.mac t2,t0,a0
  cv.mac t2,t1,ra
  FINISH t2
2:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw ra,12(sp)
  addi sp,sp,16
  ret
