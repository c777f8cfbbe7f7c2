#include "dataplane/ebpf/flow_maps.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "bpf/shared/maps.h"
#include "dataplane/ebpf/kernel_maps.h"

namespace fairlead::dataplane::ebpf {
namespace {

// The map of a slot; none: it is empty.
net::Fd map_in(int flows, uint32_t slot) {
  uint32_t id = 0;
  if (bpf_map_lookup_elem(flows, &slot, &id) != 0) return net::Fd();
  return net::Fd(bpf_map_get_fd_by_id(id));
}

// The kernel returns when no program is left that has seen the slot as it was before
// (maybe_wait_bpf_programs() in kernel/bpf/syscall.c).
Result<void> put(int flows, uint32_t slot, const net::Fd& map) {
  const int fd = map.get();
  if (bpf_map_update_elem(flows, &slot, &fd, BPF_ANY) == 0) return {};
  return fail(cat("cannot put a conntrack map into use: ", std::strerror(errno)));
}

Result<bpf_map_info> shape_in_kernel(const net::Fd& map) {
  bpf_map_info info{};
  uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(map.get(), &info, &length) == 0) return info;
  return fail(cat("cannot ask for the shape of the conntrack map: ", std::strerror(errno)));
}

// From the map before into that of now, which both must be there; then the one before is let go.
// What programs have written meanwhile is newer, and stays.
Result<size_t> end_move(int flows) {
  const net::Fd before = map_in(flows, FL_FLOWS_BEFORE);
  if (!before) return 0;
  FL_TRY(const net::Fd now, conntrack_in_use(flows));
  size_t moved = 0;
  const int error = each_in_map(before.get(), sizeof(fl_tuple), sizeof(fl_nat),
                                [&](const std::byte* key, const std::byte* value) {
                                  moved +=
                                      bpf_map_update_elem(now.get(), key, value, BPF_NOEXIST) == 0;
                                });
  if (error != 0) return fail(cat("cannot move the flows: ", std::strerror(error)));
  const uint32_t slot = FL_FLOWS_BEFORE;
  if (bpf_map_delete_elem(flows, &slot) == 0) return moved;
  return fail(cat("cannot let go of the conntrack map before: ", std::strerror(errno)));
}

net::Fd older_conntrack(const Pins& pins) {
  const net::Fd flows(bpf_obj_get(pins.older_map("flows").c_str()));
  if (!flows) return net::Fd(bpf_obj_get(pins.older_map("conntrack").c_str()));  // before layout 4
  if (!end_move(flows.get())) return net::Fd();
  return map_in(flows.get(), FL_FLOWS_NOW);
}

}  // namespace

Result<net::Fd> make_conntrack(uint32_t entries, const EntryTypes& types) {
  LIBBPF_OPTS(bpf_map_create_opts, opts);
  opts.btf_fd = static_cast<uint32_t>(types.btf);
  opts.btf_key_type_id = types.key;
  opts.btf_value_type_id = types.value;
  net::Fd map(bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "conntrack", sizeof(fl_tuple), sizeof(fl_nat),
                             entries, &opts));
  if (map) return map;
  return fail(cat("cannot make a conntrack map of ", entries,
                  " entries (--max-conntrack): ", std::strerror(errno)));
}

Result<net::Fd> conntrack_in_use(int flows) {
  net::Fd now = map_in(flows, FL_FLOWS_NOW);
  if (now) return now;
  return fail(cat("cannot open the conntrack map: ", std::strerror(errno)));
}

Result<net::Fd> open_conntrack(int flows, const Pins& pins, uint32_t entries,
                               const EntryTypes& types) {
  if (net::Fd now = map_in(flows, FL_FLOWS_NOW)) return now;
  net::Fd older = older_conntrack(pins);
  // The kernel refuses a map of another shape.
  if (older && put(flows, FL_FLOWS_NOW, older)) return older;
  FL_TRY(net::Fd fresh, make_conntrack(entries, types));
  FL_TRY_VOID(put(flows, FL_FLOWS_NOW, fresh));
  return fresh;
}

Result<size_t> resize_conntrack(int flows, uint32_t entries, const EntryTypes& types) {
  FL_TRY(size_t moved, end_move(flows));
  FL_TRY(const net::Fd now, conntrack_in_use(flows));
  FL_TRY(const bpf_map_info info, shape_in_kernel(now));
  if (info.max_entries == entries) return moved;
  FL_TRY(const net::Fd next, make_conntrack(entries, types));
  FL_TRY_VOID(put(flows, FL_FLOWS_BEFORE, now));
  FL_TRY_VOID(put(flows, FL_FLOWS_NOW, next));
  FL_TRY(const size_t more, end_move(flows));
  return moved + more;
}

}  // namespace fairlead::dataplane::ebpf
