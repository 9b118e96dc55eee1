// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// struct nm_lookup_s8
#define TABLE 0
#define COUNT_OF_BYTES 4

// void nm_lookup_s8(p, input, output)
FUNCTION nm_lookup_s8
  lw a3,COUNT_OF_BYTES(a0)
  lw a0,TABLE(a0)
  srli t4,a3,3
  beqz t4,1f
  LOOP t4
  cv.lw t0,(a1),4
  cv.lw t1,(a1),4
  cv.extractu.b t2,t0,0
  cv.extractu.b t3,t0,1
  cv.extractu.b t5,t0,2
  srli t0,t0,24
  cv.lbu t2,t2(a0)
  cv.lbu t3,t3(a0)
  cv.lbu t5,t5(a0)
  cv.lbu t0,t0(a0)
  cv.packlo.b t2,t3,t2
  cv.extractu.b t3,t1,0
  cv.packhi.b t2,t0,t5
  cv.extractu.b t6,t1,1
  cv.extractu.b t5,t1,2
  srli t1,t1,24
  cv.lbu t3,t3(a0)
  cv.lbu t6,t6(a0)
  cv.lbu t5,t5(a0)
  cv.lbu t1,t1(a0)
  cv.packlo.b t3,t6,t3
  cv.sw t2,(a2),4
  cv.packhi.b t3,t1,t5
  cv.sw t3,(a2),4
92:
1:
  andi a3,a3,7
  beqz a3,3f
2:
  cv.lbu t0,(a1),1
  addi a3,a3,-1
  cv.lbu t0,t0(a0)
  nop
  cv.sb t0,(a2),1
  bnez a3,2b
3:
  ret
