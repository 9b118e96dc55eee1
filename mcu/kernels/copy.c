// SPDX-License-Identifier: BSD-3-Clause

#include "im2col.h"
#include "nm_operators.h"

void nm_copy(const struct nm_copy *p, const void *input, void *output) {
  const int8_t *from = (const int8_t *) input + p->input_offset;
  int8_t *to = (int8_t *) output + p->output_offset;
  const size_t run = p->run;
  if (p->axes == 0) {
    nm_copy_s8(to, from, run);
    return;
  }
  const size_t inner = (size_t) p->axes - 1;
  const size_t count = p->size[inner];
  const ptrdiff_t read = p->input_stride[inner];
  const ptrdiff_t write = p->output_stride[inner];
  // The last two axes turn a matrix, if they are columns and rows of one.
  const size_t channels = inner != 0 ? p->size[inner - 1] : 0;
  const int turns = run == 1 && inner != 0 && write == 1 && read == (ptrdiff_t) channels &&
                    p->input_stride[inner - 1] == 1 && p->output_stride[inner - 1] >= (ptrdiff_t) count;
  const size_t walked = turns ? inner - 1 : inner;
  uint32_t place[NM_MOST_AXES] = {0};
  for (;;) {
    const int8_t *source = from;
    int8_t *target = to;
    if (turns) {
      nm_planar_s8(to, (size_t) p->output_stride[inner - 1], from, channels, count);
    }
    for (size_t i = turns ? count : 0; i < count; i++) {
      if (run == 1) {
        *target = *source;
      } else {
        nm_copy_s8(target, source, run);
      }
      // The last one's neighbour may be outside of memory: nothing is made of its address.
      if (i + 1 < count) {
        source += read;
        target += write;
      }
    }
    size_t axis = walked;
    for (;;) {
      if (axis == 0) {
        return;
      }
      axis--;
      if (++place[axis] < p->size[axis]) {
        from += p->input_stride[axis];
        to += p->output_stride[axis];
        break;
      }
      from -= (ptrdiff_t) p->input_stride[axis] * (ptrdiff_t) (p->size[axis] - 1);
      to -= (ptrdiff_t) p->output_stride[axis] * (ptrdiff_t) (p->size[axis] - 1);
      place[axis] = 0;
    }
  }
}

void nm_copy_constant(const struct nm_copy *p, void *output) {
  nm_copy(p, p->constant, output);
}
