// In a benchmark every failure is the end.
#pragma once

#include <cstdio>

#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/result.h"

namespace fairlead::bench {

template <class T>
T must(Result<T> result) {
  if (!result) fprintf(stderr, "bench: %s\n", result.error().message.c_str());
  CHECK(result.has_value());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace fairlead::bench
