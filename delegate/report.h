// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_REPORT_H_
#define NMPACK_DELEGATE_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nmpack {

// What became of one layer. Fields are those of XNNPACK's struct xnn_nm_layer_info.
struct Layer {
  std::string name;  // of the tensor that the convolution writes in the model
  int node = -1;     // index of the model's operator
  uint32_t node_id = 0;  // of XNNPACK's node
  uint32_t filter_id = 0;
  uint32_t groups = 0;
  uint32_t group_input_channels = 0;
  uint32_t group_output_channels = 0;
  uint32_t kernel_height = 0;
  uint32_t kernel_width = 0;
  float element_density = 1.0f;
  float column_density = 1.0f;
  uint32_t tile_height = 0;
  uint32_t pixel_tile = 0;
  float predicted_speedup = 1.0f;
  bool measured = false;  // of that: what it runs on
  bool sparse = false;  // on the N:M operator
  std::string reason;
  std::string layout = "NHWC";
  bool fused_addition = false;
};

// Nodes of the model that run as one.
struct PartitionReport {
  int subgraph = 0;
  std::vector<int> nodes;
  bool in_f16 = false;  // what is in single precision in the model runs in half precision
  std::string why_not_f16;  // where that was asked for
  size_t layout_conversions = 0;  // of images between NHWC and CNHW
  std::vector<Layer> layers;
};

// A node that the interpreter's kernels run, or another delegate's.
struct LeftNode {
  int subgraph = 0;
  int node = 0;
  int builtin_code = 0;
  std::string reason;
};

struct Report {
  int threads = 1;
  std::string riscv_vector;  // whether its kernels run and why, a sentence; empty on other processors
  std::vector<PartitionReport> partitions;
  std::vector<LeftNode> left;
};

// `text` in JSON's quotes. Bytes that are not UTF-8 become U+FFFD.
std::string JsonString(const std::string& text);

// One line for people: name, shape, decision, reason.
std::string Describe(const Layer& layer);

std::string ToJson(const Layer& layer);

std::string ToJson(const Report& report);

// Replaces the file at `path` as a whole or leaves it alone. Returns an empty string or what went wrong.
std::string WriteWhole(const std::string& path, const std::string& content);

// Whether a file could be written there, by the same means. Leaves nothing behind.
std::string CheckWritable(const std::string& path);

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_REPORT_H_
