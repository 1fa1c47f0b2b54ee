// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <cstdlib>

namespace remapfs::testing {

// The function of this name behind the one that takes its place; like: of its type. Ends the process when there is
// none.
template <class Function>
Function* next_function(Function* /*like*/, const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function*>(found);
}

}  // namespace remapfs::testing
