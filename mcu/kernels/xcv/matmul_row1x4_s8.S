// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/matmul.inc"

FUNCTION nm_matmul_row1x4_s8
  ENTER
  mv t4,a3
.Lgroup:
  BEGIN_ROWS 4
  li a3,SHUFFLE_EVEN
  li a4,SHUFFLE_ODD
.Lrow:
  cv.lhu ra,(a1),2
  cv.lhu t4,(a1),2
  cv.lw s0,(s4),4
  add a2,t3,t4
  mv s1,s0
  mv s2,s0
  mv s3,s0
  beqz ra,.Lmultiplied
  LOOP ra
  GATHER4
  cv.sdotsp.b s0,t4,ra
  cv.sdotsp.b s1,t4,a6
  cv.sdotsp.b s2,t4,a7
  cv.sdotsp.b s3,t4,a5
92:
.Lmultiplied:
  END_ROW 4,.Lrow
  END_GROUP 4
  bgtz t4,.Lgroup
  LEAVE
