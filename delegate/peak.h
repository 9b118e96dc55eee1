// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_PEAK_H_
#define NMPACK_DELEGATE_PEAK_H_

struct pthreadpool;

namespace nmpack {

// The most that all threads of a pool (null: this one) do at once, in GFLOP/s: single-precision multiply-adds, two
// operations each, that need nothing from memory, with the widest instructions that XNNPACK runs here. Measured in some
// hundredths of a second. 0 on RISC-V, where this has no vectors.
double MeasurePeak(struct pthreadpool* threads);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_PEAK_H_
