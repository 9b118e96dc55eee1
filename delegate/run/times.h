// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_TIMES_H_
#define NMPACK_DELEGATE_RUN_TIMES_H_

#include <string>
#include <vector>

namespace nmpack {

double Microseconds();  // of a clock that only goes forward

// `times` in microseconds, in the order they were measured; not empty.
std::string TimesAsText(const std::vector<double>& times);
std::string TimesAsJson(const std::vector<double>& times, double load);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_RUN_TIMES_H_
