#include "dataplane/ebpf/older_flows.h"

#include <bpf/bpf.h>

#include <cstring>
#include <functional>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {
namespace {

// The older map, when its entries have this shape.
net::Fd open_older(const Pins& pins, const char* name, size_t key_size, size_t value_size) {
  const std::string path = pins.older_map(name);
  if (path.empty()) return net::Fd();
  net::Fd map(bpf_obj_get(path.c_str()));
  bpf_map_info info{};
  uint32_t length = sizeof info;
  if (!map || bpf_obj_get_info_by_fd(map.get(), &info, &length) != 0) return net::Fd();
  return info.key_size == key_size && info.value_size == value_size ? std::move(map) : net::Fd();
}

// What no packet has written yet.
size_t carry_reverse(const Pins& pins, const Object& object) {
  size_t carried = 0;
  const net::Fd older = open_older(pins, "reverse", sizeof(fl_reverse_key), sizeof(fl_reverse));
  if (!older) return 0;
  const int ours = object.map_fd("reverse");
  each_in_map(older.get(), sizeof(fl_reverse_key), sizeof(fl_reverse),
              [&](const std::byte* key, const std::byte* value) {
                carried += bpf_map_update_elem(ours, key, value, BPF_NOEXIST) == 0;
              });
  return carried;
}

int each_older_flow(const Pins& pins,
                    const std::function<void(const fl_tuple&, const fl_nat&)>& use) {
  const net::Fd older = open_older(pins, "conntrack", sizeof(fl_tuple), sizeof(fl_nat));
  if (!older) return 0;
  return each_in_map(older.get(), sizeof(fl_tuple), sizeof(fl_nat),
                     [&](const std::byte* key, const std::byte* value) {
                       fl_tuple tuple;
                       std::memcpy(&tuple, key, sizeof tuple);
                       fl_nat nat;
                       std::memcpy(&nat, value, sizeof nat);
                       nat.service = nat.set = 0;
                       use(tuple, nat);
                     });
}

}  // namespace

Result<size_t> carry_older_flows(const Pins& pins, const Object& object, Maps& maps) {
  const size_t carried = carry_reverse(pins, object);
  std::vector<fl_tuple> keys;
  std::vector<fl_nat> values;
  const int error = each_older_flow(pins, [&](const fl_tuple& tuple, const fl_nat& nat) {
    keys.push_back(tuple);
    values.push_back(nat);
  });
  if (error != 0) return fail(cat("cannot read the older flows: ", std::strerror(error)));
  const WriteOutcome written = maps.update(MapId::conntrack, bytes_of(keys), bytes_of(values));
  if (written.error != 0) {
    return fail(cat("cannot carry the older flows over: ", std::strerror(written.error)));
  }
  return carried + keys.size();
}

size_t carry_missed_flows(const Pins& pins, const Object& object) {
  size_t carried = carry_reverse(pins, object);
  const int ours = object.map_fd("conntrack");
  each_older_flow(pins, [&](const fl_tuple& tuple, const fl_nat& nat) {
    carried += bpf_map_update_elem(ours, &tuple, &nat, BPF_NOEXIST) == 0;
  });
  return carried;
}

}  // namespace fairlead::dataplane::ebpf
