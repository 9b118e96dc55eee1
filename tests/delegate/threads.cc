// SPDX-License-Identifier: BSD-3-Clause
//
// How many processors control groups leave, and thread pools across a fork.
#include "threads.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>

namespace nmpack {
namespace {

class Groups : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/nmpack-groups-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    root_ = name;
  }
  void TearDown() override { ASSERT_EQ(0, std::system(("rm -r " + root_).c_str())); }

  void Write(const std::string& path, const std::string& text) {
    ASSERT_EQ(0, std::system(("mkdir -p $(dirname " + root_ + path + ")").c_str()));
    std::ofstream(root_ + path) << text;
  }
  int Quota(const std::string& membership) {
    Write("/membership", membership);
    return QuotaProcessors(root_ + "/membership", root_ + "/sys");
  }

  std::string root_;
};

TEST_F(Groups, none_limit) {
  EXPECT_EQ(0, QuotaProcessors(root_ + "/nowhere", root_ + "/sys"));
  EXPECT_EQ(0, Quota("0::/a/b\n"));
  Write("/sys/a/cpu.max", "max 100000\n");
  EXPECT_EQ(0, Quota("0::/a\n"));
}

TEST_F(Groups, round_up) {
  Write("/sys/a/cpu.max", "150000 100000\n");
  EXPECT_EQ(2, Quota("0::/a\n"));
  Write("/sys/a/cpu.max", "200000 100000\n");
  EXPECT_EQ(2, Quota("0::/a\n"));
  Write("/sys/a/cpu.max", "5000 100000\n");
  EXPECT_EQ(1, Quota("0::/a\n"));
}

TEST_F(Groups, around_a_group_count) {
  Write("/sys/a/b/cpu.max", "800000 100000\n");
  Write("/sys/a/cpu.max", "300000 100000\n");
  EXPECT_EQ(3, Quota("0::/a/b/c\n"));
  // A container's own group is the root of what it sees.
  Write("/sys/cpu.max", "200000 100000\n");
  EXPECT_EQ(2, Quota("0::/\n"));
  EXPECT_EQ(2, Quota("0::/../../elsewhere\n"));
}

TEST_F(Groups, of_version_1) {
  Write("/sys/cpu/docker/1/cpu.cfs_quota_us", "250000\n");
  Write("/sys/cpu/docker/1/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(3, Quota("4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n"));
  Write("/sys/cpu/docker/1/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(0, Quota("3:cpu,cpuacct:/docker/1\n"));
  EXPECT_EQ(0, Quota("3:cpuset:/docker/1\n"));
}

TEST_F(Groups, of_nonsense) {
  Write("/sys/a/cpu.max", "nan -3\n");
  EXPECT_EQ(0, Quota("0::/a\n"));
  Write("/sys/a/cpu.max", "1e300 1e-300\n");
  EXPECT_GE(Quota("0::/a\n"), 1);
  EXPECT_EQ(0, Quota("nonsense\n:\n::\n"));
}

TEST(Processors, are_those_of_the_affinity) {
  cpu_set_t before, one;
  ASSERT_EQ(0, sched_getaffinity(0, sizeof(before), &before));
  EXPECT_LE(UsableProcessors(), CPU_COUNT(&before));
  EXPECT_GE(UsableProcessors(), 1);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  }
  ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
  EXPECT_EQ(1, UsableProcessors());
  ASSERT_EQ(0, sched_setaffinity(0, sizeof(before), &before));
}

int Sum(pthreadpool_t pool) {
  std::atomic<int> sum{0};
  const auto add = [](void* sum, size_t i) { *static_cast<std::atomic<int>*>(sum) += static_cast<int>(i); };
  pthreadpool_parallelize_1d(pool, add, &sum, 100, 0);
  return sum;
}

TEST(Pool, of_one_thread_is_none) {
  ThreadPool pool(1);
  EXPECT_EQ(nullptr, pool.Get());
}

TEST(Pool, works_in_a_child) {
  ThreadPool pool(3);
  const pthreadpool_t mine = pool.Get();
  EXPECT_EQ(mine, pool.Get());
  EXPECT_EQ(size_t{3}, pthreadpool_get_threads_count(mine));
  EXPECT_EQ(4950, Sum(mine));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);
    const bool right = pool.Get() != mine && pool.Get() == pool.Get() && Sum(pool.Get()) == 4950;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
  EXPECT_EQ(mine, pool.Get());
}

TEST(Pool, of_a_parent_is_left_alone_in_a_child) {
  auto pool = std::make_unique<ThreadPool>(2);
  EXPECT_EQ(4950, Sum(pool->Get()));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);
    pool.reset();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
}

}  // namespace
}  // namespace nmpack
