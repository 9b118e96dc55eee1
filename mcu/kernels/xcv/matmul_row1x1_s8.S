// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_row1x1_s8
  ENTER
.Lgroup:
  BEGIN_ROWS 1
.Lrow:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  cv.lw s0,(s4),4
  add a2,t3,t4
  beqz ra,.Lmultiplied
  LOOP ra
  cv.lbu t4,(a1),1
  cv.lbu t5,(a1),1
  cv.lbu a5,(a2),t4
  cv.lbu t4,(a1),1
  cv.lbu a6,(a2),t5
  cv.lbu t5,(a1),1
  cv.lbu a7,(a2),t4
  cv.packlo.b a5,a6,a5
  cv.lbu a6,(a2),t5
  cv.lw t4,(a0),4
  cv.packhi.b a5,a6,a7
  cv.sdotsp.b s0,t4,a5
92:
.Lmultiplied:
  END_ROW 1,.Lrow
  END_GROUP 1
  bgtz t4,.Lgroup
  LEAVE
