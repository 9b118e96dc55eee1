// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// void nm_copy_s8(int8_t *to, const int8_t *from, size_t count)
FUNCTION nm_copy_s8
  srli t4,a2,4
  beqz t4,1f
  LOOP t4
  cv.lw a3,(a1),4
  cv.lw a4,(a1),4
  cv.lw a5,(a1),4
  cv.lw a6,(a1),4
  cv.sw a3,(a0),4
  cv.sw a4,(a0),4
  cv.sw a5,(a0),4
  cv.sw a6,(a0),4
92:
1:
  andi a2,a2,15
  addi a2,a2,-4
  bltz a2,3f
2:
  cv.lw a3,(a1),4
  addi a2,a2,-4
  cv.sw a3,(a0),4
  bgez a2,2b
3:
  addi a2,a2,4
  beqz a2,5f
4:
  cv.lbu a3,(a1),1
  addi a2,a2,-1
  cv.sb a3,(a0),1
  bnez a2,4b
5:
  ret

// void nm_fill_s8(int8_t *to, int8_t value, size_t count)
FUNCTION nm_fill_s8
  andi a1,a1,255
  li a3,0x01010101
  srli t4,a2,4
  mul a1,a1,a3
  beqz t4,1f
  LOOP t4
  cv.sw a1,(a0),4
  cv.sw a1,(a0),4
  cv.sw a1,(a0),4
  cv.sw a1,(a0),4
92:
1:
  andi a2,a2,15
  beqz a2,3f
2:
  addi a2,a2,-1
  cv.sb a1,(a0),1
  bnez a2,2b
3:
  ret

// void nm_interleave_s8(int8_t *to, const int8_t *const from[4], size_t count): 4 by 4 bytes are transposed at a time
FUNCTION nm_interleave_s8
  lw a3,0(a1)
  lw a4,4(a1)
  lw a5,8(a1)
  lw a6,12(a1)
  srli t4,a2,2
  andi a2,a2,3
  li t5,SHUFFLE_EVEN
  li t6,SHUFFLE_ODD
  beqz t4,1f
  LOOP t4
  cv.lw t0,(a3),4
  cv.lw t1,(a4),4
  cv.lw t2,(a5),4
  cv.lw t3,(a6),4
  cv.pack a7,t2,t0
  cv.pack.h t2,t2,t0
  cv.pack t0,t3,t1
  cv.pack.h t3,t3,t1
  mv t1,a7
  mv t4,t2
  cv.shuffle2.b a7,t0,t5
  cv.shuffle2.b t1,t0,t6
  cv.shuffle2.b t2,t3,t5
  cv.shuffle2.b t4,t3,t6
  cv.sw a7,(a0),4
  cv.sw t1,(a0),4
  cv.sw t2,(a0),4
  cv.sw t4,(a0),4
92:
1:
  beqz a2,3f
2:
  cv.lbu t0,(a3),1
  cv.lbu t1,(a4),1
  cv.lbu t2,(a5),1
  cv.lbu t3,(a6),1
  cv.packlo.b t0,t1,t0
  addi a2,a2,-1
  cv.packhi.b t0,t3,t2
  cv.sw t0,(a0),4
  bnez a2,2b
3:
  ret
