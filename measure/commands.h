// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_MEASURE_COMMANDS_H_
#define NMPACK_MEASURE_COMMANDS_H_

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "xnnpack.h"

namespace nmpack {

// What is wrong with a command: one sentence.
class BadCommand : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A line cut at its spaces.
std::vector<std::string> SplitWords(const std::string& line);

// A decimal number from `least` to `most`; `what` names it in the error.
size_t ParseCount(const std::string& what, const std::string& text, size_t least, size_t most);

// A layer as it is asked for: a convolution, and how its filter is drawn.
struct LayerSpec {
  xnn_datatype datatype = xnn_datatype_invalid;  // of its images
  size_t batch = 0;
  size_t input_height = 0;
  size_t input_width = 0;
  size_t groups = 0;
  size_t group_input_channels = 0;
  size_t group_output_channels = 0;
  size_t kernel_height = 0;
  size_t kernel_width = 0;
  size_t stride_height = 0;
  size_t stride_width = 0;
  size_t dilation_height = 0;
  size_t dilation_width = 0;
  size_t padding_top = 0;
  size_t padding_right = 0;
  size_t padding_bottom = 0;
  size_t padding_left = 0;
  double density = 0.0;
  size_t tile = 0;
  size_t block = 0;
  size_t seed = 0;
  size_t threads = 0;

  size_t Columns() const { return kernel_height * kernel_width * group_input_channels; }
  size_t InputSize() const { return batch * input_height * input_width * groups * group_input_channels; }
  size_t OutputHeight() const {
    return Output(input_height, padding_top + padding_bottom, kernel_height, dilation_height, stride_height);
  }
  size_t OutputWidth() const {
    return Output(input_width, padding_left + padding_right, kernel_width, dilation_width, stride_width);
  }
  size_t Pixels() const { return batch * OutputHeight() * OutputWidth(); }
  size_t OutputSize() const { return Pixels() * groups * group_output_channels; }

 private:
  static size_t Output(size_t size, size_t padding, size_t kernel, size_t dilation, size_t stride) {
    return (size + padding - (kernel - 1) * dilation - 1) / stride + 1;
  }
};

// Reads `key=value` words from `first` on: every key once, in any order.
LayerSpec ParseLayer(const std::vector<std::string>& words, size_t first);

}  // namespace nmpack

#endif  // NMPACK_MEASURE_COMMANDS_H_
