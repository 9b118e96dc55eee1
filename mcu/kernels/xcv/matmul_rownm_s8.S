// SPDX-License-Identifier: BSD-3-Clause
//
// The form of the gather instruction without it: offsets are extracted.

#include "xcv/rownm.inc"

// The offset of block `position` of eight in t4, less than 8 m.
.macro OFFSET m, position
  cv.extractu t4,t6,3,4*(\position)
  .if \position > 0
  addi t4,t4,(\position)*\m
  .endif
.endm

.macro HALF2 m, position
  OFFSET \m,\position
  cv.lbu a5,t4(a2)
  cv.lbu a6,t4(a3)
  OFFSET \m,\position+1
  cv.lbu a7,t4(a2)
  cv.lbu t5,t4(a3)
  OFFSET \m,\position+2
  cv.packlo.b a5,a7,a5
  cv.packlo.b a6,t5,a6
  cv.lbu a7,t4(a2)
  cv.lbu t5,t4(a3)
  OFFSET \m,\position+3
  cv.lbu ra,t4(a2)
  cv.lbu t4,t4(a3)
  cv.packhi.b a5,ra,a7
.endm

.macro ROWNM_STEP2 m
  cv.lw t6,(a1),4
  cv.lw s2,(a0),4
  HALF2 \m,0
  cv.packhi.b a6,t4,t5
  cv.sdotsp.b s0,s2,a5
  cv.sdotsp.b s1,s2,a6
  cv.lw s2,(a0),4
  HALF2 \m,4
  addi a2,a2,8*\m
  cv.packhi.b a6,t4,t5
  addi a3,a3,8*\m
  cv.sdotsp.b s0,s2,a5
  cv.sdotsp.b s1,s2,a6
.endm

.macro HALF1 m, position
  OFFSET \m,\position
  cv.lbu a5,t4(a2)
  OFFSET \m,\position+1
  cv.lbu a7,t4(a2)
  OFFSET \m,\position+2
  cv.packlo.b a5,a7,a5
  cv.lbu a6,t4(a2)
  OFFSET \m,\position+3
  cv.lbu a7,t4(a2)
.endm

.macro ROWNM_STEP1 m
  cv.lw t6,(a1),4
  cv.lw t5,(a0),4
  HALF1 \m,0
  cv.lw ra,(a0),4
  cv.packhi.b a5,a7,a6
  cv.sdotsp.b s0,t5,a5
  HALF1 \m,4
  addi a2,a2,8*\m
  cv.packhi.b a5,a7,a6
  cv.sdotsp.b s0,ra,a5
.endm

ROWNM 4,2
ROWNM 8,2
ROWNM 16,2
