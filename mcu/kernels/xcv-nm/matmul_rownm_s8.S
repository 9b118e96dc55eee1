// SPDX-License-Identifier: BSD-3-Clause

#include "xcv-nm/gather.inc"
#include "xcv/rownm.inc"

// A gather waits for offsets that one of the two instructions before it loads.

.macro GATHER4X4 m, first
  .irp place,0,1,2,3
  GATHER \m,a6,a2,t6,(\first+\place)
  GATHER \m,a7,a3,t6,(\first+\place)
  GATHER \m,ra,a4,t6,(\first+\place)
  GATHER \m,t5,a5,t6,(\first+\place)
  .endr
.endm

.macro ROWNM_STEP4 m
  cv.lw t6,(a1),4
  cv.lw t4,(a0),4
  addi a5,a5,8*\m
  GATHER4X4 \m,0
  cv.sdotsp.b s0,t4,a6
  cv.sdotsp.b s1,t4,a7
  cv.sdotsp.b s2,t4,ra
  cv.sdotsp.b s3,t4,t5
  cv.lw t4,(a0),4
  GATHER4X4 \m,4
  addi a2,a2,8*\m
  addi a3,a3,8*\m
  addi a4,a4,8*\m
  cv.sdotsp.b s0,t4,a6
  cv.sdotsp.b s1,t4,a7
  cv.sdotsp.b s2,t4,ra
  cv.sdotsp.b s3,t4,t5
.endm

.macro ROWNM_STEP2 m
  cv.lw t6,(a1),4
  cv.lw t4,(a0),4
  cv.lw t5,(a0),4
  GATHER \m,a5,a2,t6,0
  GATHER \m,a6,a3,t6,0
  GATHER \m,a5,a2,t6,1
  GATHER \m,a6,a3,t6,1
  GATHER \m,a5,a2,t6,2
  GATHER \m,a6,a3,t6,2
  GATHER \m,a5,a2,t6,3
  GATHER \m,a6,a3,t6,3
  cv.sdotsp.b s0,t4,a5
  cv.sdotsp.b s1,t4,a6
  GATHER \m,a5,a2,t6,4
  GATHER \m,a6,a3,t6,4
  GATHER \m,a5,a2,t6,5
  GATHER \m,a6,a3,t6,5
  GATHER \m,a5,a2,t6,6
  GATHER \m,a6,a3,t6,6
  GATHER \m,a5,a2,t6,7
  GATHER \m,a6,a3,t6,7
  addi a2,a2,8*\m
  addi a3,a3,8*\m
  cv.sdotsp.b s0,t5,a5
  cv.sdotsp.b s1,t5,a6
.endm

.macro ROWNM_STEP1 m
  cv.lw t6,(a1),4
  cv.lw t4,(a0),4
  cv.lw t5,(a0),4
  GATHER \m,a5,a2,t6,0
  GATHER \m,a6,a2,t6,4
  GATHER \m,a5,a2,t6,1
  GATHER \m,a6,a2,t6,5
  GATHER \m,a5,a2,t6,2
  GATHER \m,a6,a2,t6,6
  GATHER \m,a5,a2,t6,3
  GATHER \m,a6,a2,t6,7
  cv.sdotsp.b s0,t4,a5
  addi a2,a2,8*\m
  cv.sdotsp.b s0,t5,a6
.endm

ROWNM 4,4
ROWNM 8,4
ROWNM 16,4
