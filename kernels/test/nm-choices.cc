// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Prints what is chosen for each convolution of well-known networks, without creating an operator, so that the choices
// for a CPU can be seen on another one of its architecture.
//
// usage: nm-choices [--isa native|fma3|avx512f] [--check FILE] [NETWORK...]
//
// With a file, compares with what it printed when it was written, and fails where they differ.
//
// A line for each network, pattern and layout, an entry for each run of convolutions with the same choice:
//
//   resnet18 T=8 1/4 auto: d:too-dense n8x10+*2 c8x64 ... 2 conversions, blocks 1b2d88e0
//
// The operator, d(ense), n(hwc) or c(nhw); for N:M ones the output channels x pixels of their micro-kernels, the most if
// there are several, and + where they add a residual; the reason if the operator is dense, or if the filter of an N:M one
// has no zero columns. The last number is a hash over the heights of all blocks of rows.

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/subgraph.h"
#include "nm-choices.h"
#include "nm-graph-tester.h"
#include "nm-networks.h"

using xnnpack::BuildNetwork;
using xnnpack::ChosenNode;
using xnnpack::Graph;
using xnnpack::NetworkNames;
using xnnpack::NetworkPattern;
using xnnpack::SubgraphPtr;

namespace {

// FNV-1a, 32 bits.
class Hash {
 public:
  void Add(const std::vector<uint8_t>& bytes) {
    for (const uint8_t byte : bytes) {
      value_ = (value_ ^ byte) * UINT32_C(16777619);
    }
  }
  uint32_t value() const { return value_; }

 private:
  uint32_t value_ = UINT32_C(2166136261);
};

// An entry of a line.
std::string Run(const std::string& entry, size_t count) {
  if (count == 0) {
    return "";
  }
  return " " + entry + (count > 1 ? "*" + std::to_string(count) : "");
}

struct Layout {
  const char* name;
  uint32_t flags;
};

constexpr Layout kLayouts[] = {{"auto", XNN_FLAG_HINT_NM_SPARSE_INFERENCE},
                               {"cnhw", XNN_FLAG_HINT_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_CNHW}};

// The line of a network, or an empty one.
std::string Describe(const std::string& name, const NetworkPattern& pattern, const Layout& layout) {
  const Graph graph = BuildNetwork(name, pattern);
  const SubgraphPtr subgraph = graph.Build();
  std::vector<ChosenNode> nodes;
  const xnn_status status = xnnpack::ChooseNodes(subgraph.get(), layout.flags, &nodes);
  if (status != xnn_status_success) {
    std::fprintf(stderr, "failed to choose the operators of %s: status %d\n", name.c_str(), status);
    return "";
  }
  std::string line = name + " T=" + std::to_string(pattern.tile) + " " + std::to_string(pattern.kept_of_4) + "/4 " +
    layout.name + ":";
  Hash hash;
  std::string last;
  size_t run = 0;
  size_t num_conversions = 0;
  for (const ChosenNode& node : nodes) {
    if (node.is_conversion) {
      num_conversions += 1;
      continue;
    }
    hash.Add(node.block_rows);
    if (node.entry != last) {
      line += Run(last, run);
      last = node.entry;
      run = 0;
    }
    run += 1;
  }
  char digits[9];
  std::snprintf(digits, sizeof(digits), "%08" PRIx32, hash.value());
  return line + Run(last, run) + " " + std::to_string(num_conversions) + " conversions, blocks " + digits;
}

// What an earlier call printed.
class Expected {
 public:
  bool Load(const std::string& path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      lines_[line.substr(0, line.find(':'))] = line;
    }
    if (lines_.empty()) {
      std::fprintf(stderr, "expected lines of nm-choices in %s, got none\n", path.c_str());
    }
    return !lines_.empty();
  }

  bool Check(const std::string& line) const {
    const auto found = lines_.find(line.substr(0, line.find(':')));
    const std::string expected = found == lines_.end() ? "no such line" : found->second;
    if (line != expected) {
      std::fprintf(stderr, "expected %s\n     got %s\n", expected.c_str(), line.c_str());
    }
    return line == expected;
  }

 private:
  std::map<std::string, std::string> lines_;
};

// Makes the tables that choices follow from believe in other instructions than the CPU's.
bool Pretend(const std::string& isa) {
  if (isa == "native") {
    return true;
  }
#if XNN_ARCH_X86_64
  auto* hardware = const_cast<xnn_hardware_config*>(xnn_init_hardware_config());
  if (isa == "fma3" || isa == "avx512f") {
    hardware->use_x86_avx512f = hardware->use_x86_avx512skx = isa == "avx512f";
    hardware->use_x86_avx = hardware->use_x86_avx2 = hardware->use_x86_fma3 = true;
    return true;
  }
#endif
  std::fprintf(stderr, "expected native or, on x86-64, fma3 or avx512f, got %s\n", isa.c_str());
  return false;
}

bool IsKnown(const std::string& name) {
  if (std::find(NetworkNames().begin(), NetworkNames().end(), name) != NetworkNames().end()) {
    return true;
  }
  std::fprintf(stderr, "expected one of");
  for (const std::string& other : NetworkNames()) {
    std::fprintf(stderr, " %s", other.c_str());
  }
  std::fprintf(stderr, ", got %s\n", name.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> names(argv + 1, argv + argc);
  if (xnn_initialize(/*allocator=*/nullptr) != xnn_status_success) {
    std::fprintf(stderr, "failed to initialize XNNPACK\n");
    return 1;
  }
  Expected expected;
  bool checks = false;
  while (names.size() >= 2 && (names[0] == "--isa" || names[0] == "--check")) {
    checks |= names[0] == "--check";
    if (names[0] == "--isa" ? !Pretend(names[1]) : !expected.Load(names[1])) {
      return 2;
    }
    names.erase(names.begin(), names.begin() + 2);
  }
  if (names.empty()) {
    names = NetworkNames();
  }
  size_t num_lines = 0;
  size_t num_wrong = 0;
  for (const std::string& name : names) {
    if (!IsKnown(name)) {
      return 2;
    }
    for (const size_t tile : {8, 16, 32}) {
      for (const size_t kept_of_4 : {1, 2, 4}) {
        for (const Layout& layout : kLayouts) {
          const std::string line = Describe(name, {tile, kept_of_4}, layout);
          if (line.empty()) {
            return 1;
          }
          num_lines += 1;
          if (checks) {
            num_wrong += !expected.Check(line);
          } else {
            std::printf("%s\n", line.c_str());
          }
        }
      }
    }
  }
  if (checks) {
    std::printf("%zu of %zu lines are as expected\n", num_lines - num_wrong, num_lines);
  }
  return num_wrong == 0 ? 0 : 1;
}
