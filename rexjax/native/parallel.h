// Work on the threads of XLA's pool.

#ifndef REXJAX_NATIVE_PARALLEL_H_
#define REXJAX_NATIVE_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace {

// Calls work(begin, end) for parts of [0, count) on the pool's threads and this one. This thread waits for parts that
// others have begun, never for a thread: a pool that is busy or has one thread delays nothing.
template <typename Work>
void in_parallel(xla::ffi::ThreadPool& pool, int64_t count, int64_t part, Work work) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto shared = std::make_shared<Shared>();
  auto take = [shared, count, part, work]() {
    for (;;) {
      const int64_t begin = shared->next.fetch_add(part);
      if (begin >= count) return;
      const int64_t end = std::min(begin + part, count);
      work(begin, end);
      shared->done.fetch_add(end - begin);
    }
  };
  const int64_t others = std::min<int64_t>(pool.num_threads(), (count + part - 1) / part) - 1;
  for (int64_t i = 0; i < others; ++i) pool.Schedule(std::function<void()>(take));
  take();
  while (shared->done.load() < count) std::this_thread::yield();
}

}  // namespace

#endif  // REXJAX_NATIVE_PARALLEL_H_
