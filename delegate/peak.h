// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_PEAK_H_
#define NMPACK_DELEGATE_PEAK_H_

#include <map>
#include <string>

struct pthreadpool;

namespace nmpack {

// The most that all threads of a pool (null: this one) do at once, in billions of operations a second, by element type:
// multiply-adds, two operations each, that need nothing from memory, with the widest instructions that XNNPACK runs here; of
// bytes ("qs8") those that add to sums of 32 bits. Measured in some hundredths of a second. What is not known is absent: all
// on RISC-V, where this has no vectors, and bytes on all but x86-64.
std::map<std::string, double> MeasurePeaks(struct pthreadpool* threads);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_PEAK_H_
