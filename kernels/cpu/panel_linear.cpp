// Spreads a product with int8 weights over threads.

#include "int8_linear.h"

#include "status.h"
#include "threads.h"

namespace headrace {

int int8_linear(Int8LinearKernel kernel, const Int8LinearArguments& args) {
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  const int64_t chunks = (args.num_rows + kRowsPerItem - 1) / kRowsPerItem;
  // The rows of a chunk stay in the cache while the weights pass by.
  for_each(panels * chunks, args.num_threads, [&](int64_t item, int64_t) {
    const int64_t begin = item / panels * kRowsPerItem;
    const int64_t end = begin + kRowsPerItem < args.num_rows ? begin + kRowsPerItem : args.num_rows;
    kernel(args, item % panels, begin, end);
  });
  return kDone;
}

}  // namespace headrace
