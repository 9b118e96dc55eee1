// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// A runtime goes on with another thread pool, also in a child process where the threads of the first are gone.

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "nm-convolution-tester.h"
#include "nm-graph-tester.h"
#include "replicable_random_device.h"
#include "pthreadpool.h"

using xnnpack::DrawGraph;
using xnnpack::DrawInputs;
using xnnpack::Graph;
using xnnpack::GraphRunner;
using xnnpack::InputDims;
using xnnpack::ReplicableRandomDevice;
using xnnpack::ThreadpoolPtr;

namespace {

constexpr size_t kNumGraphs = 8;
constexpr unsigned kSecondsInChild = 120;  // an emulator is slow

using Dims = std::vector<std::vector<size_t>>;
using Tensors = std::vector<std::vector<float>>;

}  // namespace

TEST(RUNTIME_THREADPOOL, outlives_its_first_pool) {
  ReplicableRandomDevice rng;
  for (size_t i = 0; i < kNumGraphs; i++) {
    const Graph graph = DrawGraph(rng, /*num_steps=*/6);
    SCOPED_TRACE("graph " + std::to_string(i) + "\n" + graph.ToString());
    const Tensors inputs = DrawInputs(rng, InputDims(graph));
    Dims dims;
    Tensors expected, outputs;
    ThreadpoolPtr first(pthreadpool_create(2), pthreadpool_destroy);
    GraphRunner runner(graph, XNN_FLAG_HINT_NM_SPARSE_INFERENCE, first.get());
    ASSERT_EQ(xnn_status_success, runner.status);
    ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &expected));
    const ThreadpoolPtr second(pthreadpool_create(2), pthreadpool_destroy);
    ASSERT_EQ(xnn_status_success, xnn_update_runtime_with_threadpool(runner.runtime(), second.get()));
    first.reset();
    ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &outputs));
    ASSERT_EQ(expected, outputs);
  }
}

TEST(RUNTIME_THREADPOOL, refuses_another_number_of_threads) {
  ReplicableRandomDevice rng;
  const Graph graph = DrawGraph(rng, /*num_steps=*/2);
  const ThreadpoolPtr two(pthreadpool_create(2), pthreadpool_destroy);
  const ThreadpoolPtr three(pthreadpool_create(3), pthreadpool_destroy);
  GraphRunner runner(graph, XNN_FLAG_HINT_NM_SPARSE_INFERENCE, two.get());
  ASSERT_EQ(xnn_status_success, runner.status);
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_update_runtime_with_threadpool(runner.runtime(), three.get()));
  EXPECT_EQ(xnn_status_invalid_parameter, xnn_update_runtime_with_threadpool(runner.runtime(), nullptr));
}

TEST(RUNTIME_THREADPOOL, runs_in_a_child_process) {
  ReplicableRandomDevice rng;
  const Graph graph = DrawGraph(rng, /*num_steps=*/6);
  const Tensors inputs = DrawInputs(rng, InputDims(graph));
  Dims dims;
  Tensors expected;
  const ThreadpoolPtr threadpool(pthreadpool_create(2), pthreadpool_destroy);
  GraphRunner runner(graph, XNN_FLAG_HINT_NM_SPARSE_INFERENCE, threadpool.get());
  ASSERT_EQ(xnn_status_success, runner.status);
  ASSERT_EQ(xnn_status_success, runner.Run(InputDims(graph), inputs, &dims, &expected));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(kSecondsInChild);
    Tensors outputs;
    const pthreadpool_t own = pthreadpool_create(2);
    const bool same = xnn_update_runtime_with_threadpool(runner.runtime(), own) == xnn_status_success &&
                      runner.Run(InputDims(graph), inputs, &dims, &outputs) == xnn_status_success &&
                      outputs == expected;
    _exit(same ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(0, WEXITSTATUS(status));
}
