// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_SUPPORT_PROCESSOR_H_
#define NMPACK_SUPPORT_PROCESSOR_H_

#include <string>

namespace nmpack {

// What the system calls the processor, with its family and model where it has any, in letters that any reader of JSON and of
// tuning tables takes.
std::string ProcessorName();

// Printable ASCII without quotes and backslashes, spaces in single file, of at most 120 letters.
std::string PlainText(const std::string& text);

}  // namespace nmpack

#endif  // NMPACK_SUPPORT_PROCESSOR_H_
