// Work for several threads, on the threads that torch already has.
//
// torch computes on the pool of its OpenMP library. A second pool beside it would fight for the
// same cores, since both wait for work by spinning. So no OpenMP is linked here: the loader finds
// the entry point of the library that torch itself uses (GOMP_parallel, which LLVM's and Intel's
// libraries offer too) and hands it over. Without one, all work runs on the calling thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace headrace {

using ParallelRegion = void (*)(void (*body)(void*), void* data, unsigned num_threads,
                                unsigned flags);

extern ParallelRegion parallel_region;

namespace detail {

template <class Body>
struct Loop {
  const Body& body;
  int64_t count;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> threads{0};

  static void run(void* data) {
    Loop& loop = *static_cast<Loop*>(data);
    const int64_t thread = loop.threads.fetch_add(1, std::memory_order_relaxed);
    for (;;) {
      const int64_t index = loop.next.fetch_add(1, std::memory_order_relaxed);
      if (index >= loop.count) return;
      loop.body(index, thread);
    }
  }
};

}  // namespace detail

// body(index, thread) for each index in [0, count), each once, in rising order of their start;
// whoever is free takes the next. `thread` is below num_threads and no two run with the same at
// once.
template <class Body>
void for_each(int64_t count, int64_t num_threads, const Body& body) {
  if (count < num_threads) num_threads = count;
  detail::Loop<Body> loop{body, count};
  if (num_threads > 1 && parallel_region != nullptr) {
    parallel_region(&detail::Loop<Body>::run, &loop, static_cast<unsigned>(num_threads), 0);
  } else if (count > 0) {
    detail::Loop<Body>::run(&loop);
  }
}

}  // namespace headrace
