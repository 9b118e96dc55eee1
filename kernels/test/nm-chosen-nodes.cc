// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <cstdint>
#include <string>
#include <vector>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/nm-choice.h"
#include "xnnpack/nm-subgraph.h"
#include "xnnpack/node-type.h"
#include "xnnpack/subgraph.h"
#include "nm-choices.h"

namespace xnnpack {
namespace {

std::string Word(xnn_nm_reason reason) {
  switch (reason) {
    case xnn_nm_reason_chosen:
      return "chosen";
    case xnn_nm_reason_disabled:
      return "disabled";
    case xnn_nm_reason_datatype:
      return "datatype";
    case xnn_nm_reason_layout:
      return "layout";
    case xnn_nm_reason_depthwise:
      return "depthwise";
    case xnn_nm_reason_too_dense:
      return "too-dense";
    case xnn_nm_reason_no_kernel:
      return "no-kernel";
    case xnn_nm_reason_too_small:
      return "too-small";
  }
  return "unknown";
}

ChosenNode Describe(const xnn_nm_choice& choice) {
  ChosenNode node;
  if (!choice.is_nm) {
    node.entry = "d:" + Word(choice.reason);
    return node;
  }
  if (choice.layout == xnn_nm_layout_cnhw) {
    node.entry = "c" + std::to_string(choice.cnhw.config->mr) + "x" + std::to_string(choice.cnhw.config->nr);
    node.block_rows.assign(choice.cnhw.block_rows, choice.cnhw.block_rows + choice.cnhw.num_blocks);
  } else {
    node.entry = "n" + std::to_string(choice.nhwc.config->nr) + "x" + std::to_string(choice.nhwc.config->mr);
  }
  node.entry += choice.adds ? "+" : "";
  node.entry += choice.reason == xnn_nm_reason_chosen ? "" : ":" + Word(choice.reason);
  return node;
}

}  // namespace

xnn_status ChooseNodes(xnn_subgraph_t subgraph, uint32_t flags, std::vector<ChosenNode>* nodes) {
  const xnn_status status = xnn_subgraph_optimize(subgraph, flags);
  if (status != xnn_status_success) {
    return status;
  }
  for (uint32_t n = 0; n < subgraph->num_nodes; n++) {
    const xnn_node& node = subgraph->nodes[n];
    ChosenNode chosen;
    if (node.nm_choice != nullptr) {
      chosen = Describe(*node.nm_choice);
    } else if (node.type == xnn_node_type_static_transpose && (node.flags & XNN_FLAG_CONVERT_LAYOUT) != 0) {
      chosen.is_conversion = true;
    } else if (node.type == xnn_node_type_depthwise_convolution_2d) {
      chosen.entry = "d:depthwise";
    } else if (node.type == xnn_node_type_convolution_2d) {
      chosen.entry = "d:datatype";
    } else {
      continue;
    }
    nodes->push_back(chosen);
  }
  return xnn_status_success;
}

}  // namespace xnnpack
