// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// void nm_add_columns_s8(sums, input, stride, rows)
FUNCTION nm_add_columns_s8
  lw a4,0(a0)
  lw a5,4(a0)
  lw a6,8(a0)
  lw a7,12(a0)
  li t0,0x1
  slli t1,t0,8
  slli t2,t0,16
  slli t3,t0,24
  srli t4,a3,1
  beqz t4,1f
  LOOP t4
  cv.lw t5,(a1),a2
  cv.lw t6,(a1),a2
  cv.sdotsp.b a4,t5,t0
  cv.sdotsp.b a5,t5,t1
  cv.sdotsp.b a6,t5,t2
  cv.sdotsp.b a7,t5,t3
  cv.sdotsp.b a4,t6,t0
  cv.sdotsp.b a5,t6,t1
  cv.sdotsp.b a6,t6,t2
  cv.sdotsp.b a7,t6,t3
92:
1:
  andi a3,a3,1
  beqz a3,2f
  lw t5,0(a1)
  cv.sdotsp.b a4,t5,t0
  cv.sdotsp.b a5,t5,t1
  cv.sdotsp.b a6,t5,t2
  cv.sdotsp.b a7,t5,t3
2:
  sw a4,0(a0)
  sw a5,4(a0)
  sw a6,8(a0)
  sw a7,12(a0)
  ret

// int32_t nm_add_row_s8(input, count)
FUNCTION nm_add_row_s8
  li a2,0x01010101
  li a3,0
  srli t4,a1,3
  beqz t4,1f
  LOOP t4
  cv.lw t0,(a0),4
  cv.lw t1,(a0),4
  cv.sdotsp.b a3,t0,a2
  cv.sdotsp.b a3,t1,a2
92:
1:
  andi a1,a1,7
  beqz a1,3f
2:
  cv.lb t0,(a0),1
  addi a1,a1,-1
  add a3,a3,t0
  bnez a1,2b
3:
  mv a0,a3
  ret
