// What this kernel has, by loading the smallest program for each thing.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "dataplane/ebpf/driver.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/stale_udp.h"
#include "net/fd.h"
#include "skeletons/probe.skel.h"

namespace fairlead::dataplane {
namespace {

constexpr int tcx_ingress = 46;  // BPF_TCX_INGRESS, uapi/linux/bpf.h of Linux 6.6

int load_trivial(bpf_prog_type type, bpf_attach_type attach) {
  const bpf_insn program[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  LIBBPF_OPTS(bpf_prog_load_opts, opts);
  opts.expected_attach_type = attach;
  net::Fd fd(bpf_prog_load(type, "probe", "GPL", program, 2, &opts));
  return fd ? 0 : errno;
}

int discard(libbpf_print_level, const char*, va_list) { return 0; }

// An errno; see bpf/probe.bpf.c.
int load_function_with_pointer() {
  const auto print = libbpf_set_print(discard);
  probe_bpf* skeleton = probe_bpf::open_and_load();
  const int error = errno;
  libbpf_set_print(print);
  if (skeleton == nullptr) return error;
  probe_bpf::destroy(skeleton);
  return 0;
}

bool both(bpf_attach_type v4, bpf_attach_type v6, const char* what, const char* cost,
          std::vector<std::string>& notes) {
  int error = load_trivial(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, v4);
  if (error == 0) error = load_trivial(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, v6);
  if (error == 0) return true;
  notes.push_back(cat("no cgroup hook for ", what, " (", std::strerror(error), "): ", cost));
  return false;
}

// A query for the programs of the loopback link: a kernel without tcx does not know the type.
bool knows_tcx() {
  LIBBPF_OPTS(bpf_prog_query_opts, opts);
  unsigned loopback = if_nametoindex("lo");
  int result = bpf_prog_query_opts(static_cast<int>(loopback),
                                   static_cast<bpf_attach_type>(tcx_ingress), &opts);
  return result == 0 || errno == ENOENT;
}

}  // namespace

EbpfSupport probe_ebpf() {
  EbpfSupport support;
  auto& notes = support.notes;
  const int functions = load_function_with_pointer();
  support.functions = functions == 0;
  if (!support.functions) {
    notes.push_back(cat("no functions that take pointers, which came with Linux 5.12 (",
                        std::strerror(functions), "): the programs of eBPF mode cannot be loaded"));
  }
  support.connect = both(BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, "connect",
                         "sockets are not balanced; only tc is", notes);
  support.sendmsg = both(BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_SENDMSG, "sendmsg",
                         "unconnected UDP goes through tc only", notes);
  support.recvmsg = both(BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP6_RECVMSG, "recvmsg",
                         "UDP answers show the backend's address", notes);
  support.getpeername = both(BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME,
                             "getpeername", "getpeername() shows the backend's address", notes);
  if (support.sendmsg && !support.recvmsg) {
    support.sendmsg = false;  // an answer from an unknown address would be thrown away
    notes.push_back("sendmsg is not used without recvmsg");
  }
  if (support.connect && ebpf::own_netns_cookie() == 0) {
    notes.push_back(
        "no SO_NETNS_COOKIE, which came with Linux 5.14: sockets of pods count as the node's, and "
        "NodePorts are not served on 127.0.0.1");
  }
  int error = load_trivial(BPF_PROG_TYPE_SCHED_CLS, static_cast<bpf_attach_type>(0));
  support.tc = error == 0;
  if (!support.tc) {
    notes.push_back(cat("no tc programs (", std::strerror(error),
                        "): NodePorts are not served to other hosts"));
  }
  support.tcx = support.tc && knows_tcx();
  support.close_sockets = ebpf::can_close_sockets();
  if (!support.close_sockets) {
    notes.push_back("no SOCK_DESTROY: connected UDP sockets stay with a backend that is gone");
  }
  if (support.connect &&
      libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) != 1) {
    notes.push_back(
        "no bpf_set_retval(): a service without endpoints answers EPERM to connect(), "
        "not ECONNREFUSED");
  }
  return support;
}

Result<void> can_serve(const EbpfSupport& support) {
  if (support.functions && (support.connect || support.tc)) return {};
  return fail(cat("this kernel cannot run eBPF mode: ", join(support.notes, "; ")));
}

}  // namespace fairlead::dataplane
