// SPDX-License-Identifier: BSD-3-Clause

#include "xcv/dense.inc"
#include "xcv/matmul.inc"

FUNCTION nm_matmul_dense4x2_s8
  ENTER
  lhu t5,FILTER_COLUMNS(a0)
  srli t5,t5,2
  sw t5,LOCAL(sp)
  mv t4,a3
  li t5,2
  bltu t4,t5,.Lone
.Lgroup:
  BEGIN_GROUP 2
.Ltile2:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  lw t4,PIXEL_STRIDE(sp)
  BEGIN_TILE 2
  add a3,a2,t4
  LOOP ra
  DOTS_2
92:
  END_TILE 2,.Ltile2
  END_GROUP 2,1
  li t5,2
  bgeu t4,t5,.Lgroup
.Lone:
  beqz t4,.Ldone
  BEGIN_GROUP 1
.Ltile1:
  lw ra,LOCAL(sp)
  lw a2,PIXELS(sp)
  BEGIN_TILE 1
  LOOP ra
  DOTS_1
92:
  END_TILE 1,.Ltile1
.Ldone:
  LEAVE
