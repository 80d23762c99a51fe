// Work for several threads, on the threads that torch already has.
//
// torch computes on the pool of its OpenMP library. A second pool beside it would fight for the
// same cores, since both wait for work by spinning. So no OpenMP is linked here: the loader finds
// the entry point of the library that torch itself uses (GOMP_parallel, which LLVM's and Intel's
// libraries offer too) and hands it over. Without one, all work runs on the calling thread.
//
// Waking the pool takes up to 50 microseconds, more than most loops of a decoding step. A caller
// with many loops wakes it once, as a team, and its loops find the threads waiting.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace headrace {

using ParallelRegion = void (*)(void (*body)(void*), void* data, unsigned num_threads,
                                unsigned flags);

extern ParallelRegion parallel_region;

// Threads that wait for the loops of the one that leads them. A thread that comes late, or not at
// all since others use its core, is not waited for: the leader does its share.
class Team {
 public:
  // run(data) on the calling thread and on those of the team that come.
  void work(void (*run)(void*), void* data);

  // The body of the calling thread, while the others wait for its loops.
  template <class Body>
  static void lead(int64_t num_threads, const Body& body);

  static Team* current() { return current_; }

 private:
  template <class Body>
  struct Region {
    Team& team;
    const Body& body;
    const std::thread::id leader = std::this_thread::get_id();

    static void run(void* data) {
      Region& region = *static_cast<Region*>(data);
      if (std::this_thread::get_id() != region.leader) return region.team.follow();
      current_ = &region.team;
      region.body();
      current_ = nullptr;
      region.team.dismiss();
    }
  };

  void follow();
  void dismiss();

  static thread_local Team* current_;

  // Odd while a loop can be joined; kDismissed at the end.
  std::atomic<uint64_t> turn_{0};
  std::atomic<int64_t> num_joined_{0};
  void (*run_)(void*) = nullptr;
  void* data_ = nullptr;
};

namespace detail {

template <class Body>
struct Loop {
  const Body& body;
  int64_t count, num_threads;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> threads{0};

  static void run(void* data) {
    Loop& loop = *static_cast<Loop*>(data);
    const int64_t thread = loop.threads.fetch_add(1, std::memory_order_relaxed);
    if (thread >= loop.num_threads) return;
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
  detail::Loop<Body> loop{body, count, num_threads};
  if (num_threads > 1 && Team::current() != nullptr) {
    Team::current()->work(&detail::Loop<Body>::run, &loop);
  } else if (num_threads > 1 && parallel_region != nullptr) {
    parallel_region(&detail::Loop<Body>::run, &loop, static_cast<unsigned>(num_threads), 0);
  } else if (count > 0) {
    loop.num_threads = 1;
    detail::Loop<Body>::run(&loop);
  }
}

template <class Body>
void Team::lead(int64_t num_threads, const Body& body) {
  if (num_threads < 2 || parallel_region == nullptr || current_ != nullptr) return body();
  Team team;
  Region<Body> region{team, body};
  parallel_region(&Region<Body>::run, &region, static_cast<unsigned>(num_threads), 0);
}

}  // namespace headrace
