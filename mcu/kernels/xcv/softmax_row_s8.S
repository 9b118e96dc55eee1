// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// int32_t nm_largest_s8(input, count)
FUNCTION nm_largest_s8
  li a2,0x80808080
  srli t4,a1,3
  beqz t4,1f
  mv a3,a2
  LOOP t4
  cv.lw t0,(a0),4
  cv.lw t1,(a0),4
  cv.max.b a2,a2,t0
  cv.max.b a3,a3,t1
92:
  cv.max.b a2,a2,a3
1:
  srli a3,a2,16
  cv.max.b a2,a2,a3
  srli a3,a2,8
  cv.max.b a2,a2,a3
  cv.extbs a2,a2
  andi a1,a1,7
  beqz a1,3f
2:
  cv.lb t0,(a0),1
  addi a1,a1,-1
  cv.max a2,a2,t0
  bnez a1,2b
3:
  mv a0,a2
  ret

// uint32_t nm_softmax_sum_s8(table, start, input, count)
FUNCTION nm_softmax_sum_s8
  slli a1,a1,2
  add a0,a0,a1
  li a4,0
  srli t4,a3,1
  beqz t4,1f
  LOOP t4
  cv.lb t0,(a2),1
  cv.lb t1,(a2),1
  slli t0,t0,2
  slli t1,t1,2
  cv.lw t2,t0(a0)
  cv.lw t3,t1(a0)
  cv.addurn t2,t2,zero,12
  cv.addurn t3,t3,zero,12
  add a4,a4,t2
  cv.addn a4,a4,t3,0
92:
1:
  andi a3,a3,1
  beqz a3,2f
  lb t0,0(a2)
  slli t0,t0,2
  cv.lw t2,t0(a0)
  cv.addurn t2,t2,zero,12
  add a4,a4,t2
2:
  mv a0,a4
  ret

// What is above 255 is 255, less 128.
.macro SHARE value
  cv.addurnr \value,zero,a3
  cv.minu \value,\value,t5
  addi \value,\value,-128
  cv.sb \value,(a6),1
.endm

// void nm_softmax_shares_s8(table, start, reciprocal, shift, input, count, output)
FUNCTION nm_softmax_shares_s8
  slli a1,a1,2
  add a0,a0,a1
  li t5,255
  srli t4,a5,1
  beqz t4,1f
  LOOP t4
  cv.lb t0,(a4),1
  cv.lb t1,(a4),1
  slli t0,t0,2
  slli t1,t1,2
  cv.lw t0,t0(a0)
  cv.lw t1,t1(a0)
  mul t2,t0,a2
  mul t3,t1,a2
  mulhu t0,t0,a2
  mulhu t1,t1,a2
  srli t2,t2,31
  srli t3,t3,31
  add t0,t0,t2
  add t1,t1,t3
  SHARE t0
  SHARE t1
92:
1:
  andi a5,a5,1
  beqz a5,2f
  lb t0,0(a4)
  slli t0,t0,2
  cv.lw t0,t0(a0)
  mul t2,t0,a2
  mulhu t0,t0,a2
  srli t2,t2,31
  add t0,t0,t2
  SHARE t0
2:
  ret
