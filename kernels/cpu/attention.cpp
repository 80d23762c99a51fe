// Runs the plan of a paged attention call.

#include "attention.h"

#include <atomic>
#include <memory>
#include <new>
#include <stdexcept>

#include "attention_plan.h"
#include "status.h"
#include "threads.h"
#include "workspace.h"

namespace headrace {
namespace {

template <class Body>
int status_of(const Body& body) {
  try {
    body();
    return kDone;
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  } catch (const std::out_of_range&) {
    return kInvalid;
  }
}

}  // namespace

void run_plan(const AttentionArguments& args, const Plan& plan) {
  thread_local Workspace workspace;
  const int64_t per_thread = plan.num_scratch_floats;
  auto* memory = static_cast<float*>(workspace.bytes(
      static_cast<size_t>(per_thread * plan.num_threads + plan.num_state_floats) * sizeof(float)));
  float* states = memory + per_thread * plan.num_threads;
  const auto remaining = std::make_unique<std::atomic<int64_t>[]>(plan.targets.size());
  for (size_t i = 0; i < plan.targets.size(); ++i) remaining[i] = plan.targets[i].num_parts;

  const auto body = [&](int64_t i, int64_t thread) {
    const Item& item = plan.items[static_cast<size_t>(i)];
    float* scratch = memory + per_thread * thread;
    if (item.num_states == 0) {
      item.kernel->run(args, item, plan.chunks.data(), scratch, nullptr);
      return;
    }
    item.kernel->run(args, item, plan.chunks.data(), scratch, states + item.first_float);
    for (int64_t chunk = 0; chunk < item.num_chunks; ++chunk) {
      const auto place = static_cast<size_t>(item.first_target + chunk);
      const auto index = static_cast<size_t>(plan.targets_of_items[place]);
      if (remaining[index].fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
      const Target& target = plan.targets[index];
      item.kernel->merge(args, target, plan.parts.data() + target.first_part, scratch, states);
    }
  };
  for_each(static_cast<int64_t>(plan.items.size()), plan.num_threads, body);
}

int paged_attention(const AttentionKernels& kernels, const AttentionArguments& args) {
  return status_of([&] { run_plan(args, make_plan(kernels, args)); });
}

int count_tiles(const AttentionKernels& kernels, TileCount& count) {
  return status_of(
      [&] { count.num_tiles = num_tiles(count.call, make_plan(kernels, count.call)); });
}

}  // namespace headrace
