// SPDX-License-Identifier: BSD-3-Clause
//
// Kernels of 3 x 3 with strides of 1 and 2 along a row, four outputs of one channel at a time.

#include "xcv/matmul.inc"

// struct nm_depthwise_s8
#define WEIGHTS 0
#define BIASES 4
#define MULTIPLIERS 8
#define SHIFTS 12
#define INPUT_CHANNELS 22
#define DEPTH_MULTIPLIER 24
#define OUTPUT_WIDTH 28
#define KERNEL_HEIGHT 30
#define KERNEL_WIDTH 32
#define STRIDE_WIDTH 36
#define DILATION_WIDTH 40
#define OUTPUT_ZERO_POINT 47
#define OUTPUT_MIN 48
#define OUTPUT_MAX 49
#define SMALL 50
#define ROW_PITCH 52

// The frame, behind saved registers.
#define NEXT_WEIGHTS 52
#define NEXT_BIAS 56
#define NEXT_MULTIPLIER 60
#define NEXT_SHIFT 64
#define ROW0 68
#define ROW1 72
#define ROW2 76
#define PITCH 80
#define NEXT_OUTPUT 84
#define LEFT 88
#define GROUPS 92
#define REST 96

// In loops: rows a0-a2, output a3 and the distance a4 to the next, sums s0-s3, weights of a row of the kernel in
// s4-s6, s7-s9, s10-ra, bias t0, range t1 and t2, and what REQUANTIZE_TWICE takes.

// Words w0 w1 w2 0 and 0 w0 w1 w2 of weights, words 0 to 3 and 2 to 5 of the row.
.macro TAP1 row, w, w_later
  cv.lw t6,(\row),4
  lw t3,-2(\row)
  cv.sdotsp.b s0,t6,\w
  cv.sdotsp.b s1,t6,\w_later
  cv.sdotsp.b s2,t3,\w
  cv.sdotsp.b s3,t3,\w_later
.endm

// Words w0 w1 w2 0, 0 0 w0 w1 and w2 0 0 0 of weights.
.macro TAP2 row, w, w_first, w_second
  cv.lw t6,(\row),4
  cv.lw t3,(\row),4
  cv.sdotsp.b s0,t6,\w
  cv.sdotsp.b s1,t6,\w_first
  lw t6,0(\row)
  cv.sdotsp.b s1,t3,\w_second
  cv.sdotsp.b s2,t3,\w
  cv.sdotsp.b s3,t3,\w_first
  cv.sdotsp.b s3,t6,\w_second
.endm

.macro SUMS stride
  mv s0,t0
  mv s1,t0
  mv s2,t0
  mv s3,t0
  .if \stride == 1
  TAP1 a0,s4,s5
  TAP1 a1,s7,s8
  TAP1 a2,s10,s11
  .else
  TAP2 a0,s4,s5,s6
  TAP2 a1,s7,s8,s9
  TAP2 a2,s10,s11,ra
  .endif
.endm

.macro STORE sum
  REQUANTIZE_TWICE \sum
  cv.max \sum,\sum,t1
  cv.min \sum,\sum,t2
  cv.sb \sum,(a3),a4
.endm

.macro CHANNELS stride
1:
  lw t3,NEXT_WEIGHTS(sp)
  lw t4,NEXT_BIAS(sp)
  lw t5,NEXT_MULTIPLIER(sp)
  lw t6,NEXT_SHIFT(sp)
  lw a0,ROW0(sp)
  lw a1,ROW1(sp)
  lw a2,ROW2(sp)
  lw a3,NEXT_OUTPUT(sp)
  cv.lw s4,(t3),4
  cv.lw s7,(t3),4
  cv.lw s10,(t3),4
  cv.lw t0,(t4),4
  cv.lw a5,(t5),4
  cv.lb a6,(t6),1
  sw t3,NEXT_WEIGHTS(sp)
  sw t4,NEXT_BIAS(sp)
  sw t5,NEXT_MULTIPLIER(sp)
  sw t6,NEXT_SHIFT(sp)
  lw t3,PITCH(sp)
  lw t6,GROUPS(sp)
  addi t4,a3,1
  sw t4,NEXT_OUTPUT(sp)
  add t4,a0,t3
  sw t4,ROW0(sp)
  add t4,a1,t3
  sw t4,ROW1(sp)
  add t4,a2,t3
  sw t4,ROW2(sp)
  sltiu t5,a6,1
  slli t5,t5,31
  .if \stride == 1
  slli s5,s4,8
  slli s8,s7,8
  slli s11,s10,8
  .else
  slli s5,s4,16
  slli s8,s7,16
  slli s11,s10,16
  srli s6,s4,16
  srli s9,s7,16
  srli ra,s10,16
  .endif
  beqz t6,2f
  LOOP t6
  SUMS \stride
  STORE s0
  STORE s1
  STORE s2
  STORE s3
92:
2:
  lw t6,REST(sp)
  beqz t6,3f
  SUMS \stride
  lw t6,REST(sp)
  STORE s0
  addi t6,t6,-1
  beqz t6,3f
  STORE s1
  addi t6,t6,-1
  beqz t6,3f
  STORE s2
3:
  lw t4,LEFT(sp)
  addi t4,t4,-1
  sw t4,LEFT(sp)
  bnez t4,1b
  j .Lleave
.endm

FUNCTION nm_depthwise_row_s8
  lbu t0,SMALL(a0)
  lhu t1,KERNEL_HEIGHT(a0)
  lhu t2,KERNEL_WIDTH(a0)
  lhu t3,DILATION_WIDTH(a0)
  lhu t4,DEPTH_MULTIPLIER(a0)
  lhu t5,STRIDE_WIDTH(a0)
  li t6,3
  beqz t0,.Lany
  bne t1,t6,.Lany
  bne t2,t6,.Lany
  cv.bneimm t3,1,.Lany
  cv.bneimm t4,1,.Lany
  bgeu t5,t6,.Lany
  addi sp,sp,-FRAME
  SAVE
  lw s0,0(a2)
  lw s1,4(a2)
  lw s2,8(a2)
  lw s3,WEIGHTS(a0)
  lw s4,BIASES(a0)
  lw s5,MULTIPLIERS(a0)
  lw s6,SHIFTS(a0)
  lw s7,ROW_PITCH(a0)
  lhu a4,INPUT_CHANNELS(a0)
  lhu s8,OUTPUT_WIDTH(a0)
  add s0,s0,a1
  add s1,s1,a1
  add s2,s2,a1
  sw s0,ROW0(sp)
  sw s1,ROW1(sp)
  sw s2,ROW2(sp)
  sw s3,NEXT_WEIGHTS(sp)
  sw s4,NEXT_BIAS(sp)
  sw s5,NEXT_MULTIPLIER(sp)
  sw s6,NEXT_SHIFT(sp)
  sw s7,PITCH(sp)
  sw a3,NEXT_OUTPUT(sp)
  sw a4,LEFT(sp)
  srli t0,s8,2
  andi s8,s8,3
  sw t0,GROUPS(sp)
  sw s8,REST(sp)
  lb a7,OUTPUT_ZERO_POINT(a0)
  lb t1,OUTPUT_MIN(a0)
  lb t2,OUTPUT_MAX(a0)
  cv.beqimm t5,1,.Lstride1
  CHANNELS 2
.Lstride1:
  CHANNELS 1
.Lleave:
  LEAVE
.Lany:
  tail nm_depthwise_any_row_s8
