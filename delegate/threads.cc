// SPDX-License-Identifier: BSD-3-Clause
#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <future>
#include <locale>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace nmpack {
namespace {

// Counts the forks between the first process and this one, from 1. Pools of an earlier generation have no threads.
std::atomic<unsigned> process_generation{1};

void BeforeFork() {
  Locks& locks = Locks::Get();
  locks.applying.lock();
  locks.files.lock();
  locks.delegates.lock();
  locks.pools.lock();
}

void AfterFork() {
  Locks& locks = Locks::Get();
  locks.pools.unlock();
  locks.delegates.unlock();
  locks.files.unlock();
  locks.applying.unlock();
}

void InChild() {
  process_generation++;
  AfterFork();
}

// Whether so many threads can be started, at once. A pool waits forever for one that was not.
bool CanStart(int count) {
  std::promise<void> all;
  const std::shared_future<void> gate = all.get_future().share();
  std::vector<std::thread> threads;
  bool started = true;
  try {
    while (static_cast<int>(threads.size()) < count) threads.emplace_back([gate] { gate.wait(); });
  } catch (const std::system_error&) {
    started = false;
  }
  all.set_value();
  for (std::thread& thread : threads) thread.join();
  return started;
}

int AllowedProcessors() {
  // The kernel refuses sets that are smaller than its own.
  for (int size = 1024; size <= 1 << 20; size *= 2) {
    std::vector<cpu_set_t> sets(CPU_ALLOC_SIZE(size) / sizeof(cpu_set_t) + 1);
    const size_t bytes = sets.size() * sizeof(cpu_set_t);
    CPU_ZERO_S(bytes, sets.data());
    if (sched_getaffinity(0, bytes, sets.data()) == 0) return std::max(CPU_COUNT_S(bytes, sets.data()), 1);
    if (errno != EINVAL) break;
  }
  return 1;
}

// Reads numbers from a file; "max" and what is not there become -1.
std::vector<double> Numbers(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> numbers;
  for (std::string word; file >> word && numbers.size() < 2;) {
    std::istringstream text(word);
    text.imbue(std::locale::classic());
    double number = -1.0;
    if (!(text >> number)) number = -1.0;
    numbers.push_back(number);
  }
  numbers.resize(2, -1.0);
  return numbers;
}

int RoundedUp(double quota, double period) {
  if (!(quota > 0.0) || !(period > 0.0)) return 0;
  const double processors = std::min(quota / period, 1e6);
  return std::max(static_cast<int>(processors) + (processors > static_cast<int>(processors) ? 1 : 0), 1);
}

int Least(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

// Version 2 has one file "quota period", version 1 two files.
int QuotaOf(const std::string& folder, bool unified) {
  if (unified) {
    const std::vector<double> limits = Numbers(folder + "/cpu.max");
    return RoundedUp(limits[0], limits[1]);
  }
  return RoundedUp(Numbers(folder + "/cpu.cfs_quota_us")[0], Numbers(folder + "/cpu.cfs_period_us")[0]);
}

}  // namespace

int QuotaProcessors(const std::string& membership, const std::string& mounts) {
  int least = 0;
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    // number:controllers:path, without controllers in version 2
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string root = unified ? mounts : mounts + "/cpu";
    std::string path = line.substr(second + 1);
    while (true) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      least = Least(least, QuotaOf(root + path, unified));
      if (path.empty()) break;
      path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
    }
  }
  return least;
}

int UsableProcessors() {
  return Least(AllowedProcessors(), QuotaProcessors("/proc/self/cgroup", "/sys/fs/cgroup"));
}

Locks& Locks::Get() {
  // Never destroyed: a process may fork while it ends.
  static Locks* const locks = [] {
    pthread_atfork(BeforeFork, AfterFork, InChild);
    return new Locks;
  }();
  return *locks;
}

ThreadPool::~ThreadPool() {
  if (pool_ != nullptr && generation_ == process_generation) pthreadpool_destroy(pool_);
}

pthreadpool_t ThreadPool::Get() {
  if (threads() <= 1) return nullptr;
  if (generation_ == process_generation) return pool_;
  const std::lock_guard<std::mutex> lock(Locks::Get().pools);
  if (generation_ != process_generation) {
    pool_ = CanStart(threads_ - 1) ? pthreadpool_create(static_cast<size_t>(threads_)) : nullptr;
    if (pool_ == nullptr) {
      std::fprintf(stderr, "nmpack: %d threads cannot be started: one runs\n", threads_.load());
      threads_ = 1;
    }
    generation_ = process_generation.load();
  }
  return pool_;
}

}  // namespace nmpack
