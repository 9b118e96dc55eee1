// SPDX-License-Identifier: BSD-3-Clause

#include "xcv-nm/gather.inc"
#include "xcv/rownm.inc"

.macro ROWNM_STEP2 m
  cv.lw t6,(a1),4
  cv.lw t4,(a0),4
  GATHER \m,a5,a2,t6,0
  GATHER \m,a6,a3,t6,0
  GATHER \m,a5,a2,t6,1
  GATHER \m,a6,a3,t6,1
  GATHER \m,a5,a2,t6,2
  GATHER \m,a6,a3,t6,2
  GATHER \m,a5,a2,t6,3
  GATHER \m,a6,a3,t6,3
  cv.lw t5,(a0),4
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
  GATHER \m,a5,a2,t6,0
  GATHER \m,a6,a2,t6,4
  GATHER \m,a5,a2,t6,1
  GATHER \m,a6,a2,t6,5
  GATHER \m,a5,a2,t6,2
  GATHER \m,a6,a2,t6,6
  GATHER \m,a5,a2,t6,3
  GATHER \m,a6,a2,t6,7
  cv.lw t5,(a0),4
  cv.sdotsp.b s0,t4,a5
  addi a2,a2,8*\m
  cv.sdotsp.b s0,t5,a6
.endm

ROWNM 4
ROWNM 8
ROWNM 16
