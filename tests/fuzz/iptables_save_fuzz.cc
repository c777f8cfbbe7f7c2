// Any bytes as the output of iptables-save: it is understood or refused, and what is understood can
// be compared, repaired and removed.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/text.h"
#include "dataplane/iptables/listing.h"
#include "dataplane/iptables/removal.h"
#include "dataplane/iptables/saved_rules.h"
#include "dataplane/iptables/wanted.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;             // NOLINT: a fuzz target is one file
  using namespace fairlead::dataplane;  // NOLINT
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ipt::SavedRulesReader reader;
  ipt::Listing listing;
  for (const std::string_view line : split(bytes, '\n')) {
    listing.line(line);
    if (const auto done = reader.line(line); !done) {
      CHECK(!done.error().message.empty());
      return 0;
    }
    CHECK(ipt::target_of(line).size() <= line.size());
  }
  const auto saved = reader.finish();
  if (!saved) return 0;
  static const ServiceTable table;
  ipt::Wanted wanted(ipt::Layout(table.node, {}));
  wanted.reset(table);
  const auto difference = wanted.difference(table, *saved);
  CHECK(difference.inputs.empty() == difference.drifts.empty());
  CHECK(ipt::removal_of(*saved).empty() == saved->empty());
  (void)listing.text(false);
  return 0;
}
