// SPDX-License-Identifier: BSD-3-Clause

// Times what the XNNPACK provider of ONNX Runtime calls for a convolution, beside what it could call. After
// scripts/setup.sh:
//
//   m=build/host/meson; x=third_party; clang-19 -O2 -fuse-ld=lld -I$x/patched/xnnpack/include -I$x/pthreadpool/include \
//     experiments/onnxruntime_calls.c $m/xnnpack/libXNNPACK.a $m/pthreadpool/libpthreadpool.a $m/cpuinfo/libcpuinfo.a \
//     -lm -o build/onnxruntime_calls && build/onnxruntime_calls
//
// 3x3, 256 to 256 channels, 14 x 14 pixels, a quarter of the columns kept in tiles of 32; one thread, interleaved.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xnnpack.h>
#include <xnnpack-nm-operators.h>
#include <xnnpack-nm.h>

enum { channels = 256, side = 14, columns = 9 * channels, tile = 32, runs = 200, variants = 3 };

static const char* const names[variants] = {"nhwc", "nhwc with the hint", "nm_nhwc"};
static float filter[channels * columns], bias[channels];
static float image[side * side * channels + XNN_EXTRA_BYTES / sizeof(float)];
static float output[variants][side * side * channels];

static void check(enum xnn_status status)
{
  if (status != xnn_status_success) {
    fprintf(stderr, "expected XNNPACK's status 0, got %d\n", status);
    exit(1);
  }
}

static int compare(const void* a, const void* b)
{
  return (*(const double*) a > *(const double*) b) - (*(const double*) a < *(const double*) b);
}

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return 1e3 * (double) time.tv_sec + 1e-6 * (double) time.tv_nsec;
}

int main(void)
{
  check(xnn_initialize(NULL));
  srand(0);
  for (size_t row = 0; row < channels; row++) {
    for (size_t column = 0; column < columns; column++) {
      // The tiles keep one column of each four, not all the same one.
      const int is_kept = (column + row / tile) % 4 == 0;
      filter[row * columns + column] = is_kept ? (float) rand() / (float) RAND_MAX - 0.5f : 0.0f;
    }
  }
  for (size_t i = 0; i < side * side * channels; i++) {
    image[i] = (float) rand() / (float) RAND_MAX - 0.5f;
  }
  xnn_operator_t ops[variants];
  void* workspaces[variants] = {NULL};
  static double times[variants][runs];
  for (size_t i = 0; i < variants; i++) {
    size_t size = 0, alignment = 0;
    if (i == 2) {
      check(xnn_create_convolution2d_nm_nhwc_f32(
        1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, channels, channels, channels, channels, /*tile_height=*/0, filter, bias,
        -1e30f, 1e30f, 0, NULL, NULL, &ops[i]));
      check(xnn_reshape_convolution2d_nm_nhwc_f32(ops[i], 1, side, side, &size, &alignment, NULL, NULL, NULL));
      workspaces[i] = aligned_alloc(64, (size + 127) / 64 * 64);
      check(xnn_setup_convolution2d_nm_nhwc_f32(ops[i], workspaces[i], image, NULL, output[i]));
    } else {
      check(xnn_create_convolution2d_nhwc_f32(
        1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, channels, channels, channels, channels, filter, bias, -1e30f, 1e30f,
        i == 1 ? XNN_FLAG_HINT_NM_SPARSE_INFERENCE : 0, NULL, NULL, &ops[i]));
      check(xnn_reshape_convolution2d_nhwc_f32(ops[i], 1, side, side, &size, &alignment, NULL, NULL, NULL));
      workspaces[i] = aligned_alloc(64, (size + 127) / 64 * 64);
      check(xnn_setup_convolution2d_nhwc_f32(ops[i], workspaces[i], image, output[i]));
    }
  }
  for (size_t run = 0; run < runs; run++) {
    for (size_t i = 0; i < variants; i++) {
      const double start = now();
      check(xnn_run_operator(ops[i], NULL));
      times[i][run] = now() - start;
    }
  }
  for (size_t i = 0; i < variants; i++) {
    qsort(times[i], runs, sizeof(times[i][0]), compare);
    printf("%-20s %.2f ms (quartiles %.2f and %.2f), outputs %s\n", names[i], times[i][runs / 2], times[i][runs / 4],
      times[i][3 * runs / 4], memcmp(output[0], output[i], sizeof(output[0])) == 0 ? "equal to the bit" : "differ");
    xnn_delete_operator(ops[i]);
    free(workspaces[i]);
  }
  return 0;
}
