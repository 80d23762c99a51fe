// What the functions of the C interface return.
#pragma once

namespace headrace {

enum Status { kDone = 0, kOutOfMemory = 1, kInvalid = 2 };

}  // namespace headrace
