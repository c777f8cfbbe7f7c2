#include "dataplane/ebpf/tc_filters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {
namespace {

// Runs after filters of lower priority numbers, which an operator may have put there.
constexpr uint32_t filter_priority = 100;
constexpr uint32_t filter_handle = 0xfa1;

bpf_tc_hook hook_of(int link_index, bpf_tc_attach_point point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = link_index;
  hook.attach_point = point;
  return hook;
}

bpf_tc_opts our_filter() {
  bpf_tc_opts opts{};
  opts.sz = sizeof opts;
  opts.handle = filter_handle;
  opts.priority = filter_priority;
  return opts;
}

bool is_ours(int link_index, bpf_tc_attach_point point, const char* program_name) {
  bpf_tc_hook hook = hook_of(link_index, point);
  bpf_tc_opts opts = our_filter();
  if (bpf_tc_query(&hook, &opts) != 0) return false;
  net::Fd program(bpf_prog_get_fd_by_id(opts.prog_id));
  bpf_prog_info info{};
  uint32_t length = sizeof info;
  if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return false;
  return std::strcmp(info.name, program_name) == 0;
}

// Does the clsact qdisc of the link hold any filter for this direction? (rtnetlink(7) dump)
bool has_filters(int link_index, uint32_t parent) {
  net::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr header;
    tcmsg body;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETTFILTER;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.tcm_ifindex = link_index;
  request.body.tcm_parent = parent;
  if (!socket || send(socket.get(), &request, sizeof request, 0) < 0) return true;
  alignas(nlmsghdr) char buffer[32768];
  while (true) {
    ssize_t length = recv(socket.get(), buffer, sizeof buffer, 0);
    if (length <= 0) return true;
    auto left = static_cast<unsigned>(length);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return false;
      if (message->nlmsg_type == NLMSG_ERROR) return true;
      if (message->nlmsg_type == RTM_NEWTFILTER) return true;
    }
  }
}

Result<void> attach_one(int link_index, bpf_tc_attach_point point, int program) {
  bpf_tc_hook hook = hook_of(link_index, point);
  bpf_tc_opts opts = our_filter();
  opts.prog_fd = program;
  opts.flags = BPF_TC_F_REPLACE;
  int error = bpf_tc_attach(&hook, &opts);
  if (error == 0) return {};
  return fail(cat("cannot attach tc ", point == BPF_TC_INGRESS ? "ingress" : "egress", " to link ",
                  link_index, ": ", std::strerror(-error)));
}

}  // namespace

Result<void> attach_tc(int link_index, int ingress_program, int egress_program) {
  auto both = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  bpf_tc_hook hook = hook_of(link_index, both);
  int error = bpf_tc_hook_create(&hook);
  if (error != 0 && error != -EEXIST) {
    return fail(cat("cannot add a clsact qdisc to link ", link_index, ": ", std::strerror(-error)));
  }
  // Egress first: what ingress has rewritten is always answered rightly.
  FL_TRY_VOID(attach_one(link_index, BPF_TC_EGRESS, egress_program));
  return attach_one(link_index, BPF_TC_INGRESS, ingress_program);
}

bool has_tc(int link_index) {
  return is_ours(link_index, BPF_TC_INGRESS, "tc_ingress") ||
         is_ours(link_index, BPF_TC_EGRESS, "tc_egress");
}

bool has_both_tc(int link_index) {
  return is_ours(link_index, BPF_TC_INGRESS, "tc_ingress") &&
         is_ours(link_index, BPF_TC_EGRESS, "tc_egress");
}

Result<void> detach_tc(int link_index) {
  struct Side {
    bpf_tc_attach_point point;
    const char* program;
  };
  bool any = false;
  for (const Side& side : {Side{BPF_TC_INGRESS, "tc_ingress"}, Side{BPF_TC_EGRESS, "tc_egress"}}) {
    if (!is_ours(link_index, side.point, side.program)) continue;
    any = true;
    bpf_tc_hook hook = hook_of(link_index, side.point);
    bpf_tc_opts opts = our_filter();
    int error = bpf_tc_detach(&hook, &opts);
    if (error != 0) {
      return fail(cat("cannot detach tc from link ", link_index, ": ", std::strerror(-error)));
    }
  }
  uint32_t ingress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  uint32_t egress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
  if (any && !has_filters(link_index, ingress) && !has_filters(link_index, egress)) {
    auto both = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook hook = hook_of(link_index, both);
    bpf_tc_hook_destroy(&hook);
  }
  return {};
}

}  // namespace fairlead::dataplane::ebpf
