// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_THREADS_H_
#define NMPACK_DELEGATE_THREADS_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "pthreadpool.h"

namespace nmpack {

// Processors that this process may use, at least 1: those it may be scheduled on, and not more than its control groups
// give it the time of.
int UsableProcessors();

// The processors that the quota of a control group and of those around it amounts to, rounded up; 0 where there is
// none. `membership` is the path of /proc/self/cgroup, `mounts` that of /sys/fs/cgroup.
int QuotaProcessors(const std::string& membership, const std::string& mounts);

// What a fork waits for, so that a child never inherits a lock that a thread of its parent held. They are taken in this
// order.
struct Locks {
  std::mutex applying;   // a delegate to a graph
  std::mutex files;      // from when what goes into a file is put together until it is written
  std::mutex delegates;  // for what threads share of a delegate, never for long
  std::mutex pools;      // that are being made

  static Locks& Get();
};

// Threads of a pool do not survive a fork in the child, where a call into the pool waits for them forever. This pool
// makes them anew there, and leaves those of the parent alone when it is destroyed.
class ThreadPool {
 public:
  explicit ThreadPool(int threads) : threads_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The pool of the process that asks; null if one thread is all, or no others can be made. Differs in a child process
  // from what it was in its parent.
  pthreadpool_t Get();

  // How many run: fewer than were asked for where they could not be started.
  int threads() const { return threads_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> threads_;
  pthreadpool_t pool_ = nullptr;
  std::atomic<unsigned> generation_{0};  // of the process that made pool_; 0: none did
};

}  // namespace nmpack

#endif  // NMPACK_DELEGATE_THREADS_H_
