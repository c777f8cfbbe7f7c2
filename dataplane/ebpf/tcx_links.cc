#include "dataplane/ebpf/tcx_links.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {
namespace {

// uapi/linux/bpf.h of Linux 6.6; libbpf 1.1 passes them on without knowing them.
constexpr int tcx_ingress = 46;
constexpr int tcx_egress = 47;
constexpr uint32_t link_type_tcx = 11;
constexpr std::string_view pin_prefix = "tcx_";

struct Side {
  int type;
  std::string_view name;
};
// Egress first: what ingress has rewritten is always answered rightly.
constexpr std::array<Side, 2> sides = {{{tcx_egress, "egress"}, {tcx_ingress, "ingress"}}};

std::string pin_name(int link_index, const Side& side) {
  return cat(pin_prefix, link_index, "_", side.name);
}

std::vector<uint32_t> programs_on(int link_index, int type) {
  std::vector<uint32_t> ids(64);  // BPF_MPROG_MAX
  LIBBPF_OPTS(bpf_prog_query_opts, opts);
  opts.prog_ids = ids.data();
  opts.prog_cnt = static_cast<uint32_t>(ids.size());
  if (bpf_prog_query_opts(link_index, static_cast<bpf_attach_type>(type), &opts) != 0) return {};
  ids.resize(opts.prog_cnt);
  return ids;
}

// The pinned link is on this network link: by index, which means nothing in another namespace, and
// by its program being there. A link whose network link is gone has index 0.
bool is_on(int link, int link_index, int type) {
  bpf_link_info info{};
  uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(link, &info, &length) != 0) return false;
  // struct { __u32 ifindex, attach_type; } tcx, where xdp.ifindex is
  if (info.type != link_type_tcx || info.xdp.ifindex != static_cast<uint32_t>(link_index)) {
    return false;
  }
  const auto ids = programs_on(link_index, type);
  return std::find(ids.begin(), ids.end(), info.prog_id) != ids.end();
}

// Unpinning alone would leave the link to the kernel's worker; this is over when it returns.
void remove_pin(const std::string& path) {
  net::Fd link(bpf_obj_get(path.c_str()));
  if (link) bpf_link_detach(link.get());
  unlink(path.c_str());
}

Result<void> attach_one(const Pins& pins, int link_index, const Side& side, int program) {
  const std::string name = pin_name(link_index, side), path = pins.link(name),
                    older = pins.older_link(name);
  for (const std::string& candidate : {path, older}) {
    if (candidate.empty()) continue;
    net::Fd link(bpf_obj_get(candidate.c_str()));
    if (!link || !is_on(link.get(), link_index, side.type)) continue;
    if (bpf_link_update(link.get(), program, nullptr) != 0) {
      return fail(cat("cannot replace the program of ", candidate, ": ", std::strerror(errno)));
    }
    return candidate == path ? Result<void>() : pin(link.get(), path);
  }
  net::Fd link(
      bpf_link_create(program, link_index, static_cast<bpf_attach_type>(side.type), nullptr));
  if (link) return pin(link.get(), path);
  return fail(
      cat("cannot attach tcx ", side.name, " to link ", link_index, ": ", std::strerror(errno)));
}

}  // namespace

Result<void> TcxLinks::attach(int link_index, int ingress_program, int egress_program) const {
  for (const Side& side : sides) {
    const int program = side.type == tcx_ingress ? ingress_program : egress_program;
    FL_TRY_VOID(attach_one(pins_, link_index, side, program));
  }
  return {};
}

void TcxLinks::detach(int link_index) const {
  for (const Side& side : sides) remove_pin(pins_.link(pin_name(link_index, side)));
}

bool TcxLinks::attached(int link_index) const {
  return std::all_of(sides.begin(), sides.end(), [&](const Side& side) {
    net::Fd link(bpf_obj_get(pins_.link(pin_name(link_index, side)).c_str()));
    return link && is_on(link.get(), link_index, side.type);
  });
}

void TcxLinks::sweep(const std::set<int>& present) const {
  for (const std::string& name : pins_.links()) {
    if (!name.starts_with(pin_prefix)) continue;
    const auto index = parse_int(split(name, '_').at(1));
    if (!index || !present.contains(static_cast<int>(*index))) remove_pin(pins_.link(name));
  }
}

int count_tcx(int link_index, bool ingress, const std::string& program) {
  int count = 0;
  for (uint32_t id : programs_on(link_index, ingress ? tcx_ingress : tcx_egress)) {
    net::Fd fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    uint32_t length = sizeof info;
    if (fd && bpf_obj_get_info_by_fd(fd.get(), &info, &length) == 0) count += program == info.name;
  }
  return count;
}

}  // namespace fairlead::dataplane::ebpf
