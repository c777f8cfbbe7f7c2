// Elements of our sets as netlink gives them: another program may have put anything into them. The
// first byte chooses the set, the rest are an element's attributes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/ipvs/rules.h"
#include "dataplane/nftables/kernel_state.h"
#include "dataplane/nftables/set_shape.h"

namespace {

struct Set {
  const char* name;
  uint32_t key_type, data_type, flags;  // as libnftables and the kernel note them
};
constexpr uint32_t number = 4, ip4 = 7, ip6 = 8, protocol = 12, port = 13, interval = 4;
constexpr uint32_t verdict = 0xffffff00;
constexpr uint32_t types(uint32_t a, uint32_t b, uint32_t c = 0) {
  return c == 0 ? a << 6 | b : a << 12 | b << 6 | c;
}
constexpr Set sets[] = {
    {"services4", types(ip4, protocol, port), verdict, 0},
    {"outside6", types(ip6, protocol, port), verdict, 0},
    {"tcp-backends4", types(ip4, port, number), types(ip4, port), 0},
    {"udp-backends6", types(ip6, port, number), types(ip6, port), 0},
    {"ranges4", types(ip4, protocol, port) << 6 | ip4, 0, interval},
    {"ranges6", types(ip6, protocol, port) << 6 | ip6, 0, interval},
    {"hairpin4", types(ip4, ip4), 0, 0},
    {"cluster-ips6", ip6, 0, 0},
    {"local_pods4", ip4, 0, interval},
    {"service-cidrs6", ip6, 0, interval},
    {"remember4", types(ip4, protocol, port), verdict, 0},
    {"affinity-ips4", types(number, number, ip4), ip4, 0},
    {"affinity-ips6", types(number, number, number) << 6 | number, ip6, 0},
    {"affinity-ports4", types(number, number, ip4), port, 0},
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dataplane;
  // Another program's set may be of any types.
  if (size >= 12) nft::shape_of(data[0] | data[1] << 8 | data[2] << 16, data[3], data[4]);
  if (size == 0) return 0;
  const Set& set = sets[data[0] % std::size(sets)];
  const auto shape = nft::shape_of(set.key_type, set.data_type, set.flags);
  nft::ReadElement element = nft::read_element(
      *shape, std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  if (shape->interval) {
    nft::join_intervals(*shape, {{element.key, element.interval_end}, {element.key, false}});
    return 0;
  }
  ipvs::parse_key(element.key);
  NftTable table;
  table.sets[set.name].emplace(std::move(element.key), std::move(element.value));
  nft::to_text(nft::rows_in(table));
  return 0;
}
