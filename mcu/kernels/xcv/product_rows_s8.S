// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

// struct nm_batch_matmul_s8
#define DEPTH 4
#define ROWS 8
#define COLUMNS 12
#define FINE_MULTIPLIER 16
#define FINE_OFFSET 20
#define FINE_AWAY 24
#define FINE_LEFT 28
#define FINE_RIGHT 29
#define X_ZERO_POINT 42

// The frame, behind the saved registers.
#define X 52
#define X_PITCH 56
#define ROWS_LEFT 60
#define Y 64
#define Y_TILE 68
#define X_SUMS 72
#define Y_SUMS 76
#define Y_SUMS_TILE 80
#define OUTPUT_ROWS 84
#define OUTPUT_TILE 88
#define STRIDE 92
#define COLUMNS_LEFT_OF_ROWS 96
#define BLOCKS 100
#define Y_STEP 104
#define SCALE_MULTIPLIER 108
#define SCALE_OFFSET 112
#define SCALE_AWAY 116
#define SCALE_LEFT 120
#define SCALE_RIGHT 124
#define PRODUCT_FRAME 128

.macro BEGIN_STRIP
  lw a3,Y(sp)
  lw a4,Y_SUMS(sp)
  lw a5,OUTPUT_ROWS(sp)
  lw a6,STRIDE(sp)
  sw a3,Y_TILE(sp)
  sw a4,Y_SUMS_TILE(sp)
  sw a5,OUTPUT_TILE(sp)
  sw a6,COLUMNS_LEFT_OF_ROWS(sp)
.endm

// Where x, y and their steps are: a2, a0, t4, a1; ra counts words.
.macro BEGIN_PRODUCTS
  lw a0,Y_TILE(sp)
  lw a2,X(sp)
  lw t4,X_PITCH(sp)
  lw a1,Y_STEP(sp)
  lw ra,BLOCKS(sp)
  addi t5,a0,16
  sw t5,Y_TILE(sp)
.endm

.macro LOAD_FINE_SCALE
  lw a5,SCALE_MULTIPLIER(sp)
  lw a2,SCALE_LEFT(sp)
  lw a3,SCALE_AWAY(sp)
  lw a4,SCALE_OFFSET(sp)
  lw a6,SCALE_RIGHT(sp)
.endm

.macro FINE sum
  sll \sum,\sum,a2
  mulhsu \sum,\sum,a5
  srai t4,\sum,31
  cv.mac \sum,t4,a3
  cv.addrnr \sum,a4,a6
  cv.clip \sum,\sum,8
.endm

.macro FINE_ROW x0, x1, x2, x3
  FINE \x0
  FINE \x1
  FINE \x2
  FINE \x3
  cv.packlo.b \x0,\x1,\x0
  cv.packhi.b \x0,\x3,\x2
.endm

// Moves on by `rows` rows; t4 becomes how many are left.
.macro END_STRIP rows
  lw a2,X(sp)
  lw a3,X_PITCH(sp)
  lw a4,X_SUMS(sp)
  lw a5,OUTPUT_ROWS(sp)
  lw a6,STRIDE(sp)
  lw t4,ROWS_LEFT(sp)
  .if \rows == 4
  slli a3,a3,2
  slli a6,a6,2
  .endif
  add a2,a2,a3
  addi a4,a4,4*\rows
  add a5,a5,a6
  addi t4,t4,-\rows
  sw a2,X(sp)
  sw a4,X_SUMS(sp)
  sw a5,OUTPUT_ROWS(sp)
  sw t4,ROWS_LEFT(sp)
.endm

// The first t6 + 1 of up to three bytes; a4 moves on to the next row.
.macro FEW word
  sb \word,0(a4)
  beqz t6,93f
  srli \word,\word,8
  sb \word,1(a4)
  addi t5,t6,-1
  beqz t5,93f
  srli \word,\word,8
  sb \word,2(a4)
93:
  add a4,a4,a5
.endm

// void nm_product_rows_s8(p, x, y, x_sums, y_sums, output)
FUNCTION nm_product_rows_s8
  addi sp,sp,-PRODUCT_FRAME
  SAVE
  lw t0,DEPTH(a0)
  lw t4,ROWS(a0)
  lw t1,COLUMNS(a0)
  addi t0,t0,3
  srli t0,t0,2
  slli t2,t0,2
  addi t3,t1,3
  andi t3,t3,-4
  slli t3,t3,2
  addi t3,t3,-12
  sw a1,X(sp)
  sw t2,X_PITCH(sp)
  sw t4,ROWS_LEFT(sp)
  sw a2,Y(sp)
  sw a3,X_SUMS(sp)
  sw a4,Y_SUMS(sp)
  sw a5,OUTPUT_ROWS(sp)
  sw t1,STRIDE(sp)
  sw t0,BLOCKS(sp)
  sw t3,Y_STEP(sp)
  lw t0,FINE_MULTIPLIER(a0)
  lw t1,FINE_OFFSET(a0)
  lw t2,FINE_AWAY(a0)
  lbu t3,FINE_LEFT(a0)
  lbu t5,FINE_RIGHT(a0)
  sw t0,SCALE_MULTIPLIER(sp)
  sw t1,SCALE_OFFSET(sp)
  sw t2,SCALE_AWAY(sp)
  sw t3,SCALE_LEFT(sp)
  sw t5,SCALE_RIGHT(sp)
  li t5,4
  bltu t4,t5,.Lsingle
.Lstrip:
  BEGIN_STRIP
.Ltile:
  lw a6,X_SUMS(sp)
  lw a7,Y_SUMS_TILE(sp)
  lw t4,0(a6)
  lw t5,4(a6)
  lw t6,8(a6)
  lw a5,12(a6)
  lw a0,0(a7)
  lw a1,4(a7)
  lw a2,8(a7)
  lw a3,12(a7)
  add s0,a0,t4
  add s1,a0,t5
  add s2,a0,t6
  add s3,a0,a5
  add s4,a1,t4
  add s5,a1,t5
  add s6,a1,t6
  add s7,a1,a5
  add s8,a2,t4
  add s9,a2,t5
  add s10,a2,t6
  add s11,a2,a5
  add t0,a3,t4
  add t1,a3,t5
  add t2,a3,t6
  add t3,a3,a5
  addi a7,a7,16
  sw a7,Y_SUMS_TILE(sp)
  BEGIN_PRODUCTS
  add a3,a2,t4
  add a4,a3,t4
  add a5,a4,t4
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw ra,(a2),4
  cv.lw a6,(a3),4
  cv.lw a7,(a4),4
  cv.lw t5,(a5),4
  cv.sdotsp.b s0,t4,ra
  cv.lw t6,(a0),4
  cv.sdotsp.b s1,t4,a6
  cv.sdotsp.b s2,t4,a7
  cv.sdotsp.b s3,t4,t5
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t6,ra
  cv.sdotsp.b s5,t6,a6
  cv.sdotsp.b s6,t6,a7
  cv.sdotsp.b s7,t6,t5
  cv.lw t6,(a0),a1
  cv.sdotsp.b s8,t4,ra
  cv.sdotsp.b s9,t4,a6
  cv.sdotsp.b s10,t4,a7
  cv.sdotsp.b s11,t4,t5
  cv.sdotsp.b t0,t6,ra
  cv.sdotsp.b t1,t6,a6
  cv.sdotsp.b t2,t6,a7
  cv.sdotsp.b t3,t6,t5
92:
  LOAD_FINE_SCALE
  FINE_ROW s0,s4,s8,t0
  FINE_ROW s1,s5,s9,t1
  FINE_ROW s2,s6,s10,t2
  FINE_ROW s3,s7,s11,t3
  lw a7,COLUMNS_LEFT_OF_ROWS(sp)
  lw a4,OUTPUT_TILE(sp)
  lw a5,STRIDE(sp)
  addi a7,a7,-4
  addi t4,a4,4
  sw a7,COLUMNS_LEFT_OF_ROWS(sp)
  sw t4,OUTPUT_TILE(sp)
  bltz a7,1f
  cv.sw s0,(a4),a5
  cv.sw s1,(a4),a5
  cv.sw s2,(a4),a5
  sw s3,0(a4)
  bgtz a7,.Ltile
  j 2f
1:
  addi t6,a7,3
  FEW s0
  FEW s1
  FEW s2
  FEW s3
2:
  END_STRIP 4
  li t5,4
  bgeu t4,t5,.Lstrip
.Lsingle:
  beqz t4,.Lend
  BEGIN_STRIP
.Lpart:
  lw a6,X_SUMS(sp)
  lw a7,Y_SUMS_TILE(sp)
  lw t4,0(a6)
  lw s0,0(a7)
  lw s4,4(a7)
  lw s8,8(a7)
  lw t0,12(a7)
  add s0,s0,t4
  add s4,s4,t4
  add s8,s8,t4
  add t0,t0,t4
  addi a7,a7,16
  sw a7,Y_SUMS_TILE(sp)
  BEGIN_PRODUCTS
  LOOP ra
  cv.lw t4,(a0),4
  cv.lw a6,(a2),4
  cv.lw t5,(a0),4
  cv.sdotsp.b s0,t4,a6
  cv.lw t4,(a0),4
  cv.sdotsp.b s4,t5,a6
  cv.lw t5,(a0),a1
  cv.sdotsp.b s8,t4,a6
  cv.sdotsp.b t0,t5,a6
92:
  LOAD_FINE_SCALE
  FINE_ROW s0,s4,s8,t0
  lw a7,COLUMNS_LEFT_OF_ROWS(sp)
  lw a4,OUTPUT_TILE(sp)
  addi a7,a7,-4
  addi t4,a4,4
  sw a7,COLUMNS_LEFT_OF_ROWS(sp)
  sw t4,OUTPUT_TILE(sp)
  bltz a7,1f
  sw s0,0(a4)
  bgtz a7,.Lpart
  j 2f
1:
  addi t6,a7,3
  FEW s0
2:
  END_STRIP 1
  j .Lsingle
.Lend:
  lw s0,0(sp)
  lw s1,4(sp)
  lw s2,8(sp)
  lw s3,12(sp)
  lw s4,16(sp)
  lw s5,20(sp)
  lw s6,24(sp)
  lw s7,28(sp)
  lw s8,32(sp)
  lw s9,36(sp)
  lw s10,40(sp)
  lw s11,44(sp)
  lw ra,48(sp)
  addi sp,sp,PRODUCT_FRAME
  ret

// void nm_product_sums_s8(p, y, y_sums)
FUNCTION nm_product_sums_s8
  lw t0,DEPTH(a0)
  lw t1,COLUMNS(a0)
  lh t2,X_ZERO_POINT(a0)
  addi t0,t0,3
  srli t4,t0,2
  addi t0,t1,3
  andi t0,t0,-4
  slli t0,t0,2  // from word to word of a column
  neg t2,t2
  li t3,0x01010101
1:
  mv a3,a1
  li a4,0
  mv t5,t4
  LOOP t5
  cv.lw a5,(a3),t0
  nop
  cv.sdotsp.b a4,a5,t3
92:
  mul a4,a4,t2
  addi a1,a1,4
  addi t1,t1,-1
  cv.sw a4,(a2),4
  bnez t1,1b
  ret
