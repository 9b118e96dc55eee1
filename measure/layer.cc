// SPDX-License-Identifier: BSD-3-Clause
#include "layer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "pthreadpool.h"
#include "region.h"
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/buffer.h"
#include "xnnpack/nm-analysis.h"
#include "xnnpack/nm-layer.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/nm-records.h"
#include "xnnpack/nm-space.h"
#include "xnnpack/operator.h"

namespace nmpack {
namespace {

template <typename T>
using Buffer = xnnpack::Buffer<T, XNN_ALLOCATION_ALIGNMENT>;

void Check(xnn_status status, const std::string& what) {
  if (status != xnn_status_success) throw BadCommand(what + " failed with XNNPACK's status " + std::to_string(status));
}

// A filter whose tiles keep the same share of columns, in runs of `block` channels, and all weights of those.
std::vector<float> DrawFilter(const LayerSpec& spec, std::mt19937* random) {
  std::uniform_real_distribution<float> weight(0.01f, 1.0f);
  const size_t taps = spec.kernel_height * spec.kernel_width;
  const size_t columns = spec.Columns();
  const size_t runs_of_tap = (spec.group_input_channels + spec.block - 1) / spec.block;
  std::vector<size_t> runs(taps * runs_of_tap);
  std::iota(runs.begin(), runs.end(), size_t{0});
  const size_t kept = std::max<size_t>(1, std::lround(static_cast<double>(runs.size()) * spec.density));
  std::vector<float> filter(spec.groups * spec.group_output_channels * columns);
  for (size_t group = 0; group < spec.groups; group++) {
    for (size_t first = 0; first < spec.group_output_channels; first += spec.tile) {
      std::shuffle(runs.begin(), runs.end(), *random);
      const size_t end = std::min(first + spec.tile, spec.group_output_channels);
      for (size_t row = group * spec.group_output_channels + first; row < group * spec.group_output_channels + end; row++) {
        for (size_t i = 0; i < kept; i++) {
          const size_t begin = runs[i] % runs_of_tap * spec.block;
          float* tap = &filter[row * columns + runs[i] / runs_of_tap * spec.group_input_channels];
          for (size_t c = begin; c < std::min(begin + spec.block, spec.group_input_channels); c++) tap[c] = weight(*random);
        }
      }
    }
  }
  return filter;
}

// Numbers, each multiplied by a factor, as elements of a type.
template <typename T>
std::vector<char> Elements(const std::vector<float>& numbers, float factor = 1.0f) {
  std::vector<char> elements(numbers.size() * sizeof(T));
  for (size_t i = 0; i < numbers.size(); i++) {
    const T element = static_cast<T>(numbers[i] * factor);
    std::memcpy(&elements[i * sizeof(T)], &element, sizeof(T));
  }
  return elements;
}

struct Operator {
  xnn_operator_t op = nullptr;
  Buffer<char> workspace;
};

using ThreadPool = std::unique_ptr<struct pthreadpool, decltype(&pthreadpool_destroy)>;

}  // namespace

struct DrawnLayer::State {
  LayerSpec spec;
  // Elements of the layer's type.
  std::vector<char> filter;
  std::vector<char> bias;
  std::vector<float> scales;
  xnn_nm_layer layer{};
  xnn_nm_zeros zeros{};
  std::vector<xnn_nm_candidate> ways;
  std::vector<Candidate> candidates;
  std::map<std::string, Operator> operators;
  Buffer<char> input;
  Buffer<char> output;
  ThreadPool threads{nullptr, pthreadpool_destroy};
  std::vector<char> evicting;

  ~State() {
    for (auto& [name, made] : operators) xnn_delete_operator(made.op);
    xnn_release_nm_zeros(&zeros);
  }

  // Draws the filter, and makes images. What numbers there are changes no time.
  void Draw() {
    layer.datatype = xnn_find_nm_datatype(spec.datatype);
    std::mt19937 random(static_cast<uint32_t>(spec.seed));
    const std::vector<float> weights = DrawFilter(spec, &random);
    const size_t rows = spec.groups * spec.group_output_channels;
    const size_t bytes = size_t{1} << layer.datatype->log2_element_size;
    input = Buffer<char>(spec.InputSize() * bytes + XNN_EXTRA_BYTES);
    output = Buffer<char>(spec.OutputSize() * bytes + XNN_EXTRA_BYTES);
    if (spec.datatype == xnn_datatype_qint8) {
      filter = Elements<int8_t>(weights, 127.0f);
      bias = Elements<int32_t>(std::vector<float>(rows, 100.0f));
      std::memset(input.data(), 64, input.size());
      // Sums of all columns stay in the range of bytes.
      scales.assign(rows, 1.0f / (64.0f * static_cast<float>(spec.Columns())));
      layer.filter_scale = scales.data();
      layer.input_scale = layer.output_scale = 1.0f;
    } else {
      filter = Elements<float>(weights);
      bias = Elements<float>(std::vector<float>(rows, 0.1f));
      float* pixels = reinterpret_cast<float*>(input.data());
      std::fill(pixels, pixels + input.size() / sizeof(float), 0.5f);
    }
  }

  void Describe() {
    layer.padding_top = static_cast<uint32_t>(spec.padding_top);
    layer.padding_right = static_cast<uint32_t>(spec.padding_right);
    layer.padding_bottom = static_cast<uint32_t>(spec.padding_bottom);
    layer.padding_left = static_cast<uint32_t>(spec.padding_left);
    layer.kernel_height = static_cast<uint32_t>(spec.kernel_height);
    layer.kernel_width = static_cast<uint32_t>(spec.kernel_width);
    layer.stride_height = static_cast<uint32_t>(spec.stride_height);
    layer.stride_width = static_cast<uint32_t>(spec.stride_width);
    layer.dilation_height = static_cast<uint32_t>(spec.dilation_height);
    layer.dilation_width = static_cast<uint32_t>(spec.dilation_width);
    layer.groups = static_cast<uint32_t>(spec.groups);
    layer.group_input_channels = spec.group_input_channels;
    layer.group_output_channels = spec.group_output_channels;
    layer.input_channel_stride = spec.groups * spec.group_input_channels;
    layer.output_channel_stride = spec.groups * spec.group_output_channels;
    layer.filter.data = filter.data();
    layer.bias = bias.data();
    // As most layers end.
    layer.output_min = 0.0f;
    layer.output_max = spec.datatype == xnn_datatype_qint8 ? INT8_MAX : INFINITY;
    layer.batch_size = spec.batch;
    layer.input_height = spec.input_height;
    layer.input_width = spec.input_width;
    layer.output_height = spec.OutputHeight();
    layer.output_width = spec.OutputWidth();
  }

  // As it runs in a network: what has few channels is an NHWC image that an operator of CNHW images packs from there.
  xnn_nm_layer LayerFor(xnn_nm_candidate_kind kind) const {
    xnn_nm_layer result = layer;
    const bool is_direct = spec.groups * spec.group_input_channels <= XNN_MAX_DIRECT_CHANNELS;
    if (kind == xnn_nm_candidate_cnhw && is_direct) result.flags |= XNN_FLAG_INPUT_NHWC;
    return result;
  }

  void List() {
    Check(xnn_check_nm_layer(&layer, layer.datatype->cnhw_operator), "checking the layer");
    Check(xnn_find_nm_zeros(&layer, &zeros), "finding the zeros");
    ways.resize(XNN_MAX_NM_CANDIDATES);
    ways.resize(xnn_list_nm_candidates(&layer, ways.data()));
    for (const xnn_nm_candidate& way : ways) {
      char name[XNN_NM_CANDIDATE_NAME_SIZE];
      xnn_name_nm_candidate(layer.datatype, &way, name);
      float cost = 0.0f;
      const xnn_nm_layer as_it_runs = LayerFor(way.kind);
      Check(xnn_predict_nm_candidate(&as_it_runs, &zeros, &way, &cost), std::string("predicting ") + name);
      candidates.push_back({name, way.kind == xnn_nm_candidate_cnhw, double{cost} * static_cast<double>(spec.Pixels())});
    }
  }

  Operator& Get(const std::string& name) {
    const auto made = operators.find(name);
    if (made != operators.end()) return made->second;
    size_t i = 0;
    while (i < candidates.size() && candidates[i].name != name) i++;
    if (i == candidates.size()) throw BadCommand("the layer has no candidate '" + name + "'");
    xnn_operator_t op = nullptr;
    const xnn_nm_layer as_it_runs = LayerFor(ways[i].kind);
    Check(xnn_create_nm_candidate(&as_it_runs, &zeros, &ways[i], &op), "creating " + name);
    Operator& result = operators[name];
    result.op = op;
    Prepare(as_it_runs, name, &result);
    return result;
  }

  void Prepare(const xnn_nm_layer& as_it_runs, const std::string& name, Operator* made) {
    size_t size = 0, alignment = 0;
    Check(xnn_reshape_nm_candidate(&as_it_runs, made->op, &size, &alignment, threads.get()), "reshaping " + name);
    made->workspace = Buffer<char>(size);
    Check(xnn_setup_nm_candidate(&as_it_runs, made->op, made->workspace.data(), input.data(), output.data()),
          "setting up " + name);
  }

  void Evict(size_t bytes) {
    if (evicting.size() < bytes) evicting.resize(bytes);
    for (size_t i = 0; i < bytes; i += 64) evicting[i]++;
  }
};

DrawnLayer::DrawnLayer(const LayerSpec& spec) : state_(new State) {
  State& s = *state_;
  s.spec = spec;
  s.Draw();
  if (spec.threads > 1) {
    s.threads.reset(pthreadpool_create(spec.threads));
    if (s.threads == nullptr) throw BadCommand("cannot start " + std::to_string(spec.threads) + " threads");
  }
  s.Describe();
  s.List();
}

DrawnLayer::~DrawnLayer() = default;

const std::vector<Candidate>& DrawnLayer::candidates() const { return state_->candidates; }

double DrawnLayer::macs() const {
  const LayerSpec& spec = state_->spec;
  return static_cast<double>(spec.OutputSize()) * static_cast<double>(spec.Columns());
}

double DrawnLayer::kept_macs() const {
  return static_cast<double>(state_->spec.Pixels()) * static_cast<double>(state_->zeros.num_nonzeroes);
}

std::vector<double> DrawnLayer::Densities() const {
  float densities[3];
  Check(xnn_get_nm_densities(&state_->layer, &state_->zeros, densities), "counting columns");
  return {densities[0], densities[1], densities[2]};
}

std::vector<double> DrawnLayer::Run(const std::string& candidate, size_t count, size_t evicted_bytes) {
  State& s = *state_;
  Operator& made = s.Get(candidate);
  Check(xnn_run_operator_with_index(made.op, 0, 0, s.threads.get()), "running " + candidate);
  std::vector<double> times;
  for (size_t i = 0; i < count; i++) {
    s.Evict(evicted_bytes);
    const auto begin = std::chrono::steady_clock::now();
    NMPACK_REGION_BEGIN(0);
    const xnn_status status = xnn_run_operator_with_index(made.op, 0, 0, s.threads.get());
    NMPACK_REGION_END(0);
    const auto end = std::chrono::steady_clock::now();
    Check(status, "running " + candidate);
    times.push_back(static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count()));
  }
  return times;
}

}  // namespace nmpack
