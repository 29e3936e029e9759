/* The thread pool of Eigen as an empty shell: compiled models run on the thread that calls them. */
#ifndef TFAOT_EIGEN_H_
#define TFAOT_EIGEN_H_

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace Eigen {
/* Under names of its own for the linker: Eigen may be in the same program. */
inline namespace tfaot_stand_in_v1 {

class ThreadPoolInterface {
 public:
  virtual ~ThreadPoolInterface() = default;
  virtual int NumThreads() const = 0;
};

/* Remembers a number of threads and starts none. */
class ThreadPool : public ThreadPoolInterface {
 public:
  explicit ThreadPool(int num_threads, bool = true) : num_threads_(num_threads) {}
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;
  int NumThreads() const override { return num_threads_; }

 private:
  int num_threads_;
};

}  // namespace tfaot_stand_in_v1

struct ThreadPoolDevice {
  ThreadPoolDevice(ThreadPoolInterface *pool, int num_cores)
      : pool_(pool), num_threads_(num_cores) {}
  int numThreads() const { return num_threads_; }
  ThreadPoolInterface *getPool() const { return pool_; }

 private:
  ThreadPoolInterface *pool_;
  int num_threads_;
};

}  // namespace Eigen

#endif  // TFAOT_EIGEN_H_
