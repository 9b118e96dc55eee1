// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Times the convolutions of ResNet-50 (224 x 224, batch 1) on the dense and the N:M operator, rounds interleaved, and
// prints the median of each beside the bound 1 / density.

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
  std::fprintf(stderr, "convolution-nm-nhwc: %s\n", message.c_str());
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

class Convolution {
 public:
  Convolution(const Layer& layer, const float* filter, const float* bias, bool nm, const Options& options,
              pthreadpool_t threadpool)
      : threadpool_(threadpool) {
    const uint32_t padding = layer.kernel / 2;
    if (nm) {
      Check(xnn_create_convolution2d_nm_nhwc_f32(
        padding, padding, padding, padding, layer.kernel, layer.kernel, layer.stride, layer.stride, 1, 1, 1,
        layer.input_channels, layer.output_channels, layer.input_channels, layer.output_channels, options.tile,
        filter, bias, 0.0f, INFINITY, 0, nullptr, nullptr, &op_), "creating the N:M operator");
    } else {
      Check(xnn_create_convolution2d_nhwc_f32(
        padding, padding, padding, padding, layer.kernel, layer.kernel, layer.stride, layer.stride, 1, 1, 1,
        layer.input_channels, layer.output_channels, layer.input_channels, layer.output_channels,
        filter, bias, 0.0f, INFINITY, 0, nullptr, nullptr, &op_), "creating the dense operator");
    }
    size_t workspace_size = 0, alignment = 0, height = 0, width = 0;
    const auto reshape = nm ? xnn_reshape_convolution2d_nm_nhwc_f32 : xnn_reshape_convolution2d_nhwc_f32;
    Check(reshape(op_, 1, layer.size, layer.size, &workspace_size, &alignment, &height, &width, threadpool), "reshape");
    input_ = xnnpack::Buffer<float, XNN_ALLOCATION_ALIGNMENT>(
      layer.size * layer.size * layer.input_channels + XNN_EXTRA_BYTES, 0.5f);
    output_ = xnnpack::Buffer<float, XNN_ALLOCATION_ALIGNMENT>(height * width * layer.output_channels);
    workspace_ = xnnpack::Buffer<char, XNN_ALLOCATION_ALIGNMENT>(workspace_size);
    Check(nm ? xnn_setup_convolution2d_nm_nhwc_f32(op_, workspace_.data(), input_.data(), nullptr, output_.data())
             : xnn_setup_convolution2d_nhwc_f32(op_, workspace_.data(), input_.data(), output_.data()), "setup");
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

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  Check(xnn_initialize(nullptr), "initializing XNNPACK");
  pthreadpool_t threadpool = options.threads > 1 ? pthreadpool_create(options.threads) : nullptr;
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> dist(-1.0f, 1.0f);
  std::printf("density %.2f (bound %.2fx), tile %zu, %zu thread(s), median of %d interleaved rounds\n",
              options.density, 1.0 / options.density, options.tile, options.threads, options.rounds);
  std::printf("%-20s %4s %9s %9s %8s %9s %7s\n", "layer", "n", "dense ms", "GFLOP/s", "N:M ms", "GFLOP/s", "speedup");

  double dense_total = 0.0, nm_total = 0.0;
  for (const Layer& layer : kResNet50) {
    const size_t row_size = size_t{layer.kernel} * layer.kernel * layer.input_channels;
    std::vector<float> filter(layer.output_channels * row_size), bias(layer.output_channels, 0.1f);
    std::generate(filter.begin(), filter.end(), [&] { return dist(rng); });
    // As pruning leaves them: in each tile, density of the columns, drawn.
    std::vector<size_t> columns(row_size);
    for (size_t k = 0; k < row_size; k++) columns[k] = k;
    const size_t kept = std::max<size_t>(1, std::lround(row_size * options.density));
    for (size_t first = 0; first < layer.output_channels; first += options.tile) {
      std::shuffle(columns.begin(), columns.end(), rng);
      for (size_t row = first; row < std::min(first + options.tile, layer.output_channels); row++) {
        for (size_t k = kept; k < row_size; k++) filter[row * row_size + columns[k]] = 0.0f;
      }
    }

    Convolution dense(layer, filter.data(), bias.data(), /*nm=*/false, options, threadpool);
    Convolution nm(layer, filter.data(), bias.data(), /*nm=*/true, options, threadpool);
    dense.Run();
    nm.Run();
    std::vector<double> dense_times, nm_times;
    for (int round = 0; round < options.rounds; round++) {
      dense_times.push_back(dense.Run());
      nm_times.push_back(nm.Run());
    }
    const double dense_ms = Median(dense_times), nm_ms = Median(nm_times);
    const size_t output_size = (layer.size + layer.stride - 1) / layer.stride;
    const double gflop = 2e-9 * output_size * output_size * row_size * layer.output_channels;
    std::printf("%-20s %4d %9.3f %9.1f %8.3f %9.1f %6.2fx\n", layer.name, layer.count, dense_ms, gflop / dense_ms * 1e3,
                nm_ms, gflop * kept / row_size / nm_ms * 1e3, dense_ms / nm_ms);
    dense_total += dense_ms * layer.count;
    nm_total += nm_ms * layer.count;
  }
  std::printf("%-20s %4s %9.3f %9s %8.3f %9s %6.2fx\n", "all, by occurrence", "", dense_total, "", nm_total, "",
              dense_total / nm_total);
  pthreadpool_destroy(threadpool);
  return 0;
}
