// What an API server may send: a list page in two pieces, and a watch stream cut anywhere.
#include <cstdint>

#include "base/check.h"
#include "watch/line_buffer.h"
#include "watch/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  if (size == 0) return 0;
  const auto kind = static_cast<api::Kind>(data[0] % api::kind_count);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = bytes.size() * data[0] / 256;

  watch::ListParser list(kind);
  if (list.feed(bytes.substr(0, cut)) && list.feed(bytes.substr(cut))) {
    if (const auto page = list.finish()) CHECK(!page->resource_version.empty());
  }
  watch::LineBuffer lines(1024);
  const auto visit = [kind](std::string_view line) {
    const auto event = watch::parse_event(kind, line);
    if (!event) return !event.error().message.empty();
    CHECK(event->type == watch::WatchEvent::Type::error || !event->resource_version.empty());
    CHECK(!(event->object && event->bad));
    return true;
  };
  if (lines.feed(bytes.substr(0, cut), visit)) lines.feed(bytes.substr(cut), visit);
  return 0;
}
