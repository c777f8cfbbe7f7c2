// CHECK(condition) dies with file:line: for what only a bug in this program can cause.
#pragma once

namespace fairlead {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::fairlead::check_failed(#condition, __FILE__, __LINE__))
