// SPDX-License-Identifier: BSD-3-Clause
#include "layers.h"

#include <vector>

#include "tensorflow/lite/builtin_ops.h"
#include "xnnpack.h"
#if NMPACK_XNNPACK_HAS_NM
#include "xnnpack-nm.h"
#endif

namespace nmpack {

#if NMPACK_XNNPACK_HAS_NM

namespace {

std::string TensorName(const TfLiteContext& context, int tensor) {
  const char* name = context.tensors[tensor].name;
  return name == nullptr || *name == '\0' ? "tensor #" + std::to_string(tensor) : name;
}

// XNNPACK keeps the order of the model's nodes but for layers that were fused with an addition. `at` is where the node of
// the last layer was found; from there all are looked at. Sets the node's index, its filter and its output's name, if it is
// found.
void FindNode(TfLiteContext* context, const TfLiteDelegateParams& params, const uint32_t* value_ids, uint32_t filter,
              int* at, Layer* layer) {
  for (int step = 1; step <= params.nodes_to_replace->size; step++) {
    const int i = (*at + step) % params.nodes_to_replace->size;
    const int index = params.nodes_to_replace->data[i];
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) break;
    const bool layer_like = registration->builtin_code == kTfLiteBuiltinConv2d ||
                            registration->builtin_code == kTfLiteBuiltinDepthwiseConv2d ||
                            registration->builtin_code == kTfLiteBuiltinFullyConnected;
    if (layer_like && node->inputs->size > 1 && value_ids[node->inputs->data[1]] == filter) {
      *at = i;
      layer->node = index;
      layer->filter_id = static_cast<uint32_t>(node->inputs->data[1]);
      layer->name = TensorName(*context, node->outputs->data[0]);
      return;
    }
  }
  layer->name = "filter #" + std::to_string(filter);
}

}  // namespace

uint32_t RuntimeFlags(NMMode mode, Layout layout) {
  uint32_t flags = 0;
  switch (layout) {
    case Layout::kAuto:
      break;
    case Layout::kNhwc:
      flags = XNN_FLAG_FORCE_NM_NHWC;
      break;
    case Layout::kCnhw:
      flags = XNN_FLAG_FORCE_NM_CNHW;
      break;
  }
  switch (mode) {
    case NMMode::kAuto:
      return flags | XNN_FLAG_HINT_NM_SPARSE_INFERENCE;
    case NMMode::kForce:
      return flags | XNN_FLAG_HINT_NM_SPARSE_INFERENCE | XNN_FLAG_FORCE_NM_SPARSE_INFERENCE;
    case NMMode::kOff:
      break;
  }
  return 0;
}

bool ReadLayers(TfLiteContext* context, const TfLiteDelegateParams& params, struct xnn_runtime* runtime,
                const uint32_t* value_ids, PartitionReport* partition) {
  // Every layer was a node of the model.
  size_t count = static_cast<size_t>(params.nodes_to_replace->size);
  std::vector<xnn_nm_layer_info> infos(count);
  if (xnn_get_runtime_nm_layer_info(runtime, &count, infos.data()) != xnn_status_success ||
      count > infos.size() ||
      xnn_get_runtime_num_layout_conversions(runtime, &partition->layout_conversions) != xnn_status_success) {
    return false;
  }
  infos.resize(count);
  int at = -1;
  for (const xnn_nm_layer_info& info : infos) {
    Layer c;
    FindNode(context, params, value_ids, info.filter_id, &at, &c);
    c.node_id = info.node_id;
    c.groups = info.groups;
    c.group_input_channels = info.group_input_channels;
    c.group_output_channels = info.group_output_channels;
    c.kernel_height = info.kernel_height;
    c.kernel_width = info.kernel_width;
    c.element_density = info.element_density;
    c.column_density = info.column_density;
    c.tile_height = info.tile_height;
    c.pixel_tile = info.pixel_tile;
    c.predicted_speedup = info.predicted_speedup;
    c.measured = info.measured;
    // Images of CNHW layout have no other operator.
    c.sparse = info.reason == xnn_nm_reason_chosen || info.layout == xnn_nm_layout_cnhw;
    c.reason = xnn_nm_reason_to_string(info.reason);
    c.layout = info.layout == xnn_nm_layout_cnhw ? "CNHW" : "NHWC";
    c.fused_addition = info.fused_addition;
    partition->layers.push_back(c);
  }
  return true;
}

std::string RiscvVector() {
  const char* reason = xnn_get_riscv_vector_reason();
  return reason == nullptr ? "" : reason;
}

bool ChangeThreads(struct xnn_runtime* runtime, pthreadpool_t threads) {
  return xnn_update_runtime_with_threadpool(runtime, threads) == xnn_status_success;
}

#else  // An XNNPACK without the N:M operator, to compare with.

uint32_t RuntimeFlags(NMMode, Layout) { return 0; }

bool ReadLayers(TfLiteContext*, const TfLiteDelegateParams&, struct xnn_runtime*, const uint32_t*, PartitionReport*) {
  return true;
}

std::string RiscvVector() { return ""; }

bool ChangeThreads(struct xnn_runtime*, pthreadpool_t) { return false; }

#endif

}  // namespace nmpack
