// The file that `lab up` leaves: what is accepted is written and read again as it was.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "cli/lab/state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::cli;
  const auto state = parse_lab_state({reinterpret_cast<const char*>(data), size});
  if (!state) {
    CHECK(!state.error().message.empty());
    return 0;
  }
  const std::string text = to_text(*state);
  const auto again = parse_lab_state(text);
  CHECK(again);
  CHECK(again->processes == state->processes);
  CHECK(to_text(*again) == text);
  if (const auto plan = plan_lab(state->options); !plan) CHECK(!plan.error().message.empty());
  return 0;
}
