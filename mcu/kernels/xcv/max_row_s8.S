// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// void nm_max_row_s8(output, input, count)
FUNCTION nm_max_row_s8
  srli t4,a2,3
  beqz t4,1f
  LOOP t4
  cv.lw t0,(a1),4
  lw t1,0(a0)
  cv.lw t2,(a1),4
  lw t3,4(a0)
  cv.max.b t0,t0,t1
  cv.sw t0,(a0),4
  cv.max.b t2,t2,t3
  cv.sw t2,(a0),4
92:
1:
  andi a2,a2,7
  beqz a2,3f
2:
  cv.lb t0,(a1),1
  lb t1,0(a0)
  addi a2,a2,-1
  cv.max t0,t0,t1
  cv.sb t0,(a0),1
  bnez a2,2b
3:
  ret
