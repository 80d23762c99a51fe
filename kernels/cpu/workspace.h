// Memory that a thread keeps from one call to the next.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace headrace {

// Grows as needed: fresh pages would cost more than the work on them.
class Workspace {
 public:
  Workspace() = default;
  ~Workspace() { std::free(memory_); }
  Workspace(const Workspace&) = delete;

  // Aligned to cache lines; what it held is gone. Throws std::bad_alloc.
  void* bytes(size_t count) {
    if (count > size_) {
      const size_t size = (count + 63) / 64 * 64;
      std::free(memory_);
      size_ = 0;
      memory_ = std::aligned_alloc(64, size);
      if (memory_ == nullptr) throw std::bad_alloc();
      size_ = size;
    }
    return memory_;
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};

}  // namespace headrace
