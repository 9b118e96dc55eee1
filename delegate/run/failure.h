// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_FAILURE_H_
#define NMPACK_DELEGATE_RUN_FAILURE_H_

#include <stdexcept>

namespace nmpack {

// Ends the program with one sentence: what was expected, what was found.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_RUN_FAILURE_H_
