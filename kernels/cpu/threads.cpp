#include "threads.h"

namespace headrace {

ParallelRegion parallel_region = nullptr;

}  // namespace headrace
