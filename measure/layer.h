// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_MEASURE_LAYER_H_
#define NMPACK_MEASURE_LAYER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"

namespace nmpack {

// A way to run a layer, and its time by XNNPACK's costs for all pixels, in their unit.
struct Candidate {
  std::string name;
  bool cnhw = false;
  double predicted = 0.0;
};

// A convolution with a drawn filter, and the operators that run it.
class DrawnLayer {
 public:
  explicit DrawnLayer(const LayerSpec& spec);
  ~DrawnLayer();
  DrawnLayer(const DrawnLayer&) = delete;

  const std::vector<Candidate>& candidates() const;

  // Multiply-adds of the dense filter, and those with weights that are not zero.
  double macs() const;
  double kept_macs() const;

  // Non-zero weights out of all; columns with a non-zero in tiles of 8, and of 32, output channels out of all.
  std::vector<double> Densities() const;

  // Nanoseconds of each of `count` runs after one that is not measured. Before each, so many bytes of other memory are
  // walked through.
  std::vector<double> Run(const std::string& candidate, size_t count, size_t evicted_bytes);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace nmpack

#endif  // NMPACK_MEASURE_LAYER_H_
