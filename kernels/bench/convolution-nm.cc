// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Times the convolutions of ResNet-50 (224 x 224, batch 1) on the dense operator and on the N:M operators of both
// layouts, unpruned and pruned, rounds interleaved, and prints the median of each beside the bound 1 / density.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack-nm-operators.h"
#include "xnnpack/buffer.h"
#include "xnnpack/common.h"
#include "pthreadpool.h"

namespace {

struct Layer {
  const char* name;
  size_t size;  // Height and width of the image.
  uint32_t kernel;
  uint32_t stride;
  size_t input_channels;
  size_t output_channels;
  int count;  // Times it occurs in the network.
};

constexpr Layer kResNet50[] = {
  {"layer1 reduce first", 56, 1, 1, 64, 64, 1},
  {"layer1 3x3", 56, 3, 1, 64, 64, 3},
  {"layer1 expand", 56, 1, 1, 64, 256, 4},
  {"layer1 reduce", 56, 1, 1, 256, 64, 2},
  {"layer2 reduce first", 56, 1, 1, 256, 128, 1},
  {"layer2 3x3 first", 56, 3, 2, 128, 128, 1},
  {"layer2 expand", 28, 1, 1, 128, 512, 4},
  {"layer2 downsample", 56, 1, 2, 256, 512, 1},
  {"layer2 reduce", 28, 1, 1, 512, 128, 3},
  {"layer2 3x3", 28, 3, 1, 128, 128, 3},
  {"layer3 reduce first", 28, 1, 1, 512, 256, 1},
  {"layer3 3x3 first", 28, 3, 2, 256, 256, 1},
  {"layer3 expand", 14, 1, 1, 256, 1024, 6},
  {"layer3 downsample", 28, 1, 2, 512, 1024, 1},
  {"layer3 reduce", 14, 1, 1, 1024, 256, 5},
  {"layer3 3x3", 14, 3, 1, 256, 256, 5},
  {"layer4 reduce first", 14, 1, 1, 1024, 512, 1},
  {"layer4 3x3 first", 14, 3, 2, 512, 512, 1},
  {"layer4 expand", 7, 1, 1, 512, 2048, 3},
  {"layer4 downsample", 14, 1, 2, 1024, 2048, 1},
  {"layer4 reduce", 7, 1, 1, 2048, 512, 2},
  {"layer4 3x3", 7, 3, 1, 512, 512, 2},
};

struct Options {
  double density = 0.25;
  size_t tile = 32;
  size_t threads = 1;
  int rounds = 15;
};

void Fail(const std::string& message) {
  std::fprintf(stderr, "convolution-nm: %s\n", message.c_str());
  std::exit(1);
}

void Check(xnn_status status, const char* what) {
  if (status != xnn_status_success) {
    Fail(std::string(what) + " failed with XNNPACK status " + std::to_string(status));
  }
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    const double value = equals == std::string::npos ? 0.0 : std::atof(argument.c_str() + equals + 1);
    if (key == "--density" && value > 0.0 && value <= 1.0) {
      options.density = value;
    } else if (key == "--tile" && value >= 1.0) {
      options.tile = static_cast<size_t>(value);
    } else if (key == "--threads" && value >= 1.0) {
      options.threads = static_cast<size_t>(value);
    } else if (key == "--rounds" && value >= 1.0) {
      options.rounds = static_cast<int>(value);
    } else {
      Fail("expected --density=0..1, --tile=N, --threads=N or --rounds=N, got " + argument);
    }
  }
  return options;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

enum class Operator { kDense, kNmNhwc, kNmCnhw };

class Convolution {
 public:
  Convolution(const Layer& layer, const float* filter, const float* bias, Operator type, const Options& options,
              pthreadpool_t threadpool)
      : threadpool_(threadpool) {
    const uint32_t padding = layer.kernel / 2;
    size_t workspace_size = 0, alignment = 0, height = 0, width = 0;
    switch (type) {
      case Operator::kDense:
        Check(xnn_create_convolution2d_nhwc_f32(
          padding, padding, padding, padding, layer.kernel, layer.kernel, layer.stride, layer.stride, 1, 1, 1,
          layer.input_channels, layer.output_channels, layer.input_channels, layer.output_channels,
          filter, bias, 0.0f, INFINITY, 0, nullptr, nullptr, &op_), "creating the dense operator");
        Check(xnn_reshape_convolution2d_nhwc_f32(
          op_, 1, layer.size, layer.size, &workspace_size, &alignment, &height, &width, threadpool), "reshape");
        break;
      case Operator::kNmNhwc:
        Check(xnn_create_convolution2d_nm_nhwc_f32(
          padding, padding, padding, padding, layer.kernel, layer.kernel, layer.stride, layer.stride, 1, 1, 1,
          layer.input_channels, layer.output_channels, layer.input_channels, layer.output_channels, options.tile,
          filter, bias, 0.0f, INFINITY, 0, nullptr, nullptr, &op_), "creating the N:M operator (NHWC)");
        Check(xnn_reshape_convolution2d_nm_nhwc_f32(
          op_, 1, layer.size, layer.size, &workspace_size, &alignment, &height, &width, threadpool), "reshape");
        break;
      case Operator::kNmCnhw:
        Check(xnn_create_convolution2d_nm_cnhw_f32(
          padding, padding, padding, padding, layer.kernel, layer.kernel, layer.stride, layer.stride, 1, 1, 1,
          layer.input_channels, layer.output_channels,
          filter, bias, 0.0f, INFINITY, 0, nullptr, nullptr, &op_), "creating the N:M operator (CNHW)");
        Check(xnn_reshape_convolution2d_nm_cnhw_f32(
          op_, 1, layer.size, layer.size, &workspace_size, &alignment, &height, &width, threadpool), "reshape");
        break;
    }
    input_ = xnnpack::Buffer<float, XNN_ALLOCATION_ALIGNMENT>(
      layer.size * layer.size * layer.input_channels + XNN_EXTRA_BYTES, 0.5f);
    output_ = xnnpack::Buffer<float, XNN_ALLOCATION_ALIGNMENT>(height * width * layer.output_channels);
    workspace_ = xnnpack::Buffer<char, XNN_ALLOCATION_ALIGNMENT>(workspace_size);
    void* workspace = workspace_.data();
    switch (type) {
      case Operator::kDense:
        Check(xnn_setup_convolution2d_nhwc_f32(op_, workspace, input_.data(), output_.data()), "setup");
        break;
      case Operator::kNmNhwc:
        Check(xnn_setup_convolution2d_nm_nhwc_f32(op_, workspace, input_.data(), nullptr, output_.data()), "setup");
        break;
      case Operator::kNmCnhw:
        Check(xnn_setup_convolution2d_nm_cnhw_f32(op_, workspace, input_.data(), nullptr, output_.data()), "setup");
        break;
    }
  }
  Convolution(const Convolution&) = delete;
  ~Convolution() { xnn_delete_operator(op_); }

  // Milliseconds of one run.
  double Run() {
    const auto start = std::chrono::steady_clock::now();
    Check(xnn_run_operator(op_, threadpool_), "run");
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  pthreadpool_t threadpool_;
  xnn_operator_t op_ = nullptr;
  xnnpack::Buffer<float, XNN_ALLOCATION_ALIGNMENT> input_;
  xnnpack::Buffer<float, XNN_ALLOCATION_ALIGNMENT> output_;
  xnnpack::Buffer<char, XNN_ALLOCATION_ALIGNMENT> workspace_;
};

// A filter, and the same with the given density of columns in each tile, drawn, as pruning leaves it.
void DrawFilters(const Layer& layer, const Options& options, std::mt19937& rng, std::vector<float>* full,
                 std::vector<float>* pruned) {
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  const size_t row_size = size_t{layer.kernel} * layer.kernel * layer.input_channels;
  full->resize(layer.output_channels * row_size);
  std::generate(full->begin(), full->end(), [&] { return dist(rng); });
  *pruned = *full;
  std::vector<size_t> columns(row_size);
  for (size_t k = 0; k < row_size; k++) columns[k] = k;
  const size_t kept = std::max<size_t>(1, std::lround(row_size * options.density));
  for (size_t first = 0; first < layer.output_channels; first += options.tile) {
    std::shuffle(columns.begin(), columns.end(), rng);
    for (size_t row = first; row < std::min(first + options.tile, layer.output_channels); row++) {
      for (size_t k = kept; k < row_size; k++) (*pruned)[row * row_size + columns[k]] = 0.0f;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  Check(xnn_initialize(nullptr), "initializing XNNPACK");
  pthreadpool_t threadpool = options.threads > 1 ? pthreadpool_create(options.threads) : nullptr;
  std::mt19937 rng(1);
  std::printf("density %.2f (bound %.2fx), tile %zu, %zu thread(s), median of %d interleaved rounds, milliseconds\n",
              options.density, 1.0 / options.density, options.tile, options.threads, options.rounds);
  std::printf("%-20s %3s %9s | %9s %9s | %9s %6s | %9s %6s\n", "layer", "n", "upstream", "dense", "dense", "sparse", "",
              "sparse", "");
  std::printf("%-20s %3s %9s | %9s %9s | %9s %6s | %9s %6s\n", "", "", "dense", "NHWC", "CNHW", "NHWC", "", "CNHW", "");

  constexpr size_t kColumns = 5;
  double totals[kColumns] = {};
  for (const Layer& layer : kResNet50) {
    std::vector<float> full, pruned, bias(layer.output_channels, 0.1f);
    DrawFilters(layer, options, rng, &full, &pruned);
    Convolution upstream(layer, full.data(), bias.data(), Operator::kDense, options, threadpool);
    Convolution dense_nhwc(layer, full.data(), bias.data(), Operator::kNmNhwc, options, threadpool);
    Convolution dense_cnhw(layer, full.data(), bias.data(), Operator::kNmCnhw, options, threadpool);
    Convolution sparse_nhwc(layer, pruned.data(), bias.data(), Operator::kNmNhwc, options, threadpool);
    Convolution sparse_cnhw(layer, pruned.data(), bias.data(), Operator::kNmCnhw, options, threadpool);
    Convolution* const columns[kColumns] = {&upstream, &dense_nhwc, &dense_cnhw, &sparse_nhwc, &sparse_cnhw};
    std::vector<double> times[kColumns];
    for (int round = -1; round < options.rounds; round++) {
      for (size_t i = 0; i < kColumns; i++) {
        const double time = columns[i]->Run();
        // The first round warms up.
        if (round >= 0) times[i].push_back(time);
      }
    }
    double ms[kColumns];
    for (size_t i = 0; i < kColumns; i++) {
      ms[i] = Median(times[i]);
      totals[i] += ms[i] * layer.count;
    }
    std::printf("%-20s %3d %9.3f | %9.3f %9.3f | %9.3f %5.2fx | %9.3f %5.2fx\n", layer.name, layer.count, ms[0], ms[1],
                ms[2], ms[3], ms[0] / ms[3], ms[4], ms[0] / ms[4]);
  }
  std::printf("%-20s %3s %9.3f | %9.3f %9.3f | %9.3f %5.2fx | %9.3f %5.2fx\n", "all, by occurrence", "", totals[0],
              totals[1], totals[2], totals[3], totals[0] / totals[3], totals[4], totals[0] / totals[4]);
  pthreadpool_destroy(threadpool);
  return 0;
}
