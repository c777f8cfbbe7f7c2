// Many writes to one map, some of which may fail.
#pragma once

#include <vector>

#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

// One batch, gone on with after each entry that fails. Returns the number of writes.
template <class Call, class Done, class Failed>
size_t write_all(size_t count, Call call, Done done, Failed failed) {
  size_t at = 0;
  while (at < count) {
    WriteOutcome outcome = call(at);
    for (size_t i = 0; i < outcome.done; ++i) done(at + i);
    at += outcome.done;
    if (outcome.error == 0) break;
    failed(at, outcome.error);
    ++at;
  }
  return count;
}

// What is left from entry `at` on.
template <class T>
Bytes from(const std::vector<T>& values, size_t at) {
  return std::as_bytes(std::span(values).subspan(at));
}

}  // namespace fairlead::dataplane::ebpf
