#include "threads.h"

namespace headrace {

ParallelRegion parallel_region = nullptr;
thread_local Team* Team::current_ = nullptr;

namespace {

constexpr uint64_t kDismissed = ~uint64_t{0};
// How often a thread looks for work before it offers its core to others: some 50 microseconds.
constexpr int kSpins = 1500;

class Patience {
 public:
  void wait() {
    if (++spins_ < kSpins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    } else {
      std::this_thread::yield();
    }
  }

 private:
  int spins_ = 0;
};

}  // namespace

void Team::work(void (*run)(void*), void* data) {
  run_ = run;
  data_ = data;
  const uint64_t turn = turn_.load(std::memory_order_relaxed) + 1;
  turn_.store(turn);
  run(data);
  turn_.store(turn + 1);
  // Who joined before the turn ended is still at work; who comes now sees that it is over.
  for (Patience patience; num_joined_.load() != 0;) patience.wait();
}

void Team::follow() {
  uint64_t done = 0;
  for (;;) {
    uint64_t turn = turn_.load();
    for (Patience patience; turn == done || turn % 2 == 0; turn = turn_.load()) patience.wait();
    if (turn == kDismissed) return;
    num_joined_.fetch_add(1);
    if (turn_.load() == turn) run_(data_);
    num_joined_.fetch_sub(1);
    done = turn;
  }
}

void Team::dismiss() { turn_.store(kDismissed); }

}  // namespace headrace
