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

// void nm_planar_s8(int8_t *to, size_t pitch, const int8_t *from, size_t channels, size_t count): four channels at a
// time, 4 by 4 bytes of them
FUNCTION nm_planar_s8
  addi sp,sp,-16
  sw s0,0(sp)
  sw s1,4(sp)
  sw s2,8(sp)
  sw s3,12(sp)
  mv s0,a3  // channels left
  li s1,SHUFFLE_EVEN
  li s2,SHUFFLE_ODD
1:
  addi s0,s0,-4
  bltz s0,5f
  mv a5,a2
  mv a6,a0
  add a7,a6,a1
  add t0,a7,a1
  add t1,t0,a1
  add a0,t1,a1
  addi a2,a2,4
  srli t4,a4,2
  andi s3,a4,3
  beqz t4,2f
  LOOP t4
  cv.lw t2,(a5),a3
  cv.lw t3,(a5),a3
  cv.lw t4,(a5),a3
  cv.lw t5,(a5),a3
  cv.pack t6,t4,t2
  cv.pack.h t4,t4,t2
  cv.pack t2,t5,t3
  cv.pack.h t5,t5,t3
  mv t3,t6
  cv.shuffle2.b t6,t2,s1
  cv.shuffle2.b t3,t2,s2
  mv t2,t4
  cv.shuffle2.b t4,t5,s1
  cv.shuffle2.b t2,t5,s2
  cv.sw t6,(a6),4
  cv.sw t3,(a7),4
  cv.sw t4,(t0),4
  cv.sw t2,(t1),4
92:
2:
  beqz s3,1b
3:
  cv.lw t2,(a5),a3
  addi s3,s3,-1
  cv.sb t2,(a6),1
  srli t3,t2,8
  srli t4,t2,16
  srli t5,t2,24
  cv.sb t3,(a7),1
  cv.sb t4,(t0),1
  cv.sb t5,(t1),1
  bnez s3,3b
  j 1b
5:  // one channel at a time
  addi s0,s0,4
  beqz s0,8f
6:
  mv a5,a2
  mv a6,a0
  mv t4,a4
7:
  cv.lbu t2,(a5),a3
  addi t4,t4,-1
  cv.sb t2,(a6),1
  bnez t4,7b
  addi a2,a2,1
  add a0,a0,a1
  addi s0,s0,-1
  bnez s0,6b
8:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  addi sp,sp,16
  ret
