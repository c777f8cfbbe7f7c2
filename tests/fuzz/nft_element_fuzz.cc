// Elements of our sets as netlink gives them: another program may have put anything into them. The
// first byte chooses the set, the rest are an element's attributes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/nftables/kernel_state.h"
#include "dataplane/nftables/set_shape.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dataplane;
  constexpr const char* sets[] = {
      "services4", "outside6",      "tcp-backends4", "udp-backends6",  "ranges4",
      "ranges6",   "hairpin4",      "cluster-ips6",  "local_pods4",    "service-cidrs6",
      "remember4", "affinity-ips4", "affinity-ips6", "affinity-ports4"};
  if (size == 0) return 0;
  const std::string set = sets[data[0] % std::size(sets)];
  const auto shape = nft::shape_of(set);
  nft::ReadElement element = nft::read_element(
      *shape, std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  if (shape->interval) {
    nft::join_intervals(*shape, {{element.key, element.interval_end}, {element.key, false}});
    return 0;
  }
  NftTable table;
  table.sets[set].emplace(std::move(element.key), std::move(element.value));
  nft::to_text(nft::rows_in(table));
  return 0;
}
