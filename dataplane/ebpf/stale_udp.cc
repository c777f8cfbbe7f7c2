#include "dataplane/ebpf/stale_udp.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr uint16_t sock_destroy = 21;          // SOCK_DESTROY, linux/sock_diag.h
constexpr uint32_t connected_state = 1u << 1;  // TCP_ESTABLISHED stands for a connected socket
constexpr size_t answer_size = 32768;

struct Request {
  nlmsghdr header{};
  inet_diag_req_v2 body{};
};

uint64_t cookie_of(const inet_diag_sockid& id) {
  return static_cast<uint64_t>(id.idiag_cookie[1]) << 32 | id.idiag_cookie[0];
}

SocketAddress peer_of(const inet_diag_msg& message) {
  SocketAddress peer;
  if (message.idiag_family == AF_INET) {
    peer.ip = Ip::v4(ntohl(message.id.idiag_dst[0]));
  } else {
    std::memcpy(peer.ip.bytes.data(), message.id.idiag_dst, 16);
  }
  peer.port = ntohs(message.id.idiag_dport);
  return peer;
}

bool send_request(const net::Fd& socket, uint16_t type, uint16_t flags, int family,
                  const inet_diag_sockid& id) {
  Request request;
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  request.body.sdiag_family = static_cast<uint8_t>(family);
  request.body.sdiag_protocol = IPPROTO_UDP;
  request.body.idiag_states = connected_state;
  request.body.id = id;
  return ::send(socket.get(), &request, sizeof request, 0) == static_cast<ssize_t>(sizeof request);
}

// The kernel's answer to a request that it acknowledges: an errno.
int acknowledged(const net::Fd& socket) {
  alignas(nlmsghdr) char buffer[4096];
  const ssize_t length = ::recv(socket.get(), buffer, sizeof buffer, 0);
  if (length < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr))) return EIO;
  const auto* header = reinterpret_cast<const nlmsghdr*>(buffer);
  if (header->nlmsg_type != NLMSG_ERROR) return EIO;
  return -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
}

net::Fd open_diag() {
  net::Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  const timeval patience{1, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return socket;
}

// The sockets of one family, in the namespace of this thread, that are to be closed.
std::vector<inet_diag_sockid> find_sockets(int family, const StaleSockets& wanted) {
  std::vector<inet_diag_sockid> found;
  const net::Fd socket = open_diag();
  if (!socket || !send_request(socket, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, {})) return found;
  alignas(nlmsghdr) char buffer[answer_size];
  while (true) {
    const ssize_t length = ::recv(socket.get(), buffer, sizeof buffer, 0);
    if (length <= 0) return found;
    auto left = static_cast<unsigned>(length);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) return found;
      if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) continue;
      const auto& message = *static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
      const auto stale = wanted.find(cookie_of(message.id));
      if (stale != wanted.end() && stale->second == peer_of(message)) found.push_back(message.id);
    }
  }
}

size_t close_in_this_namespace(const StaleSockets& sockets) {
  size_t closed = 0;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const inet_diag_sockid& id : find_sockets(family, sockets)) {
      const net::Fd socket = open_diag();
      if (!socket || !send_request(socket, sock_destroy, NLM_F_ACK, family, id)) continue;
      closed += acknowledged(socket) == 0;
    }
  }
  return closed;
}

// One descriptor for each network namespace that some process is in.
std::vector<net::Fd> namespaces() {
  std::vector<net::Fd> found;
  std::set<ino_t> seen;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (!parse_int(name)) continue;
    net::Fd fd(::open((entry.path() / "ns/net").c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info{};
    if (!fd || ::fstat(fd.get(), &info) != 0 || !seen.insert(info.st_ino).second) continue;
    found.push_back(std::move(fd));
  }
  return found;
}

}  // namespace

bool can_close_sockets() {
  const net::Fd socket = open_diag();
  inet_diag_sockid nobody{};  // no UDP socket has port 0
  nobody.idiag_cookie[0] = nobody.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (!socket || !send_request(socket, sock_destroy, NLM_F_ACK, AF_INET, nobody)) return false;
  return acknowledged(socket) == ENOENT;
}

Result<size_t> close_udp_sockets(const StaleSockets& sockets) {
  size_t closed = 0, entered = 0;
  // On a thread of its own: this one keeps its namespace whatever happens.
  std::thread([&] {
    for (const net::Fd& netns : namespaces()) {
      if (::setns(netns.get(), CLONE_NEWNET) != 0) continue;
      ++entered;
      closed += close_in_this_namespace(sockets);
      if (closed == sockets.size()) return;
    }
  }).join();
  if (entered == 0) return fail("no process's network namespace could be entered");
  return closed;
}

Result<size_t> close_stale_sockets(Maps& maps, const ServiceSync& services) {
  StaleSockets stale;
  std::vector<uint64_t> cookies;
  each_entry<uint64_t, fl_connected>(maps, MapId::connected,
                                     [&](uint64_t cookie, const fl_connected& held) {
                                       if (services.is_member(held.service, held.ip, held.port))
                                         return;
                                       stale[cookie] = {from_map(held.ip), to_host(held.port)};
                                       cookies.push_back(cookie);
                                     });
  if (stale.empty()) return 0;
  FL_TRY(const size_t closed, close_udp_sockets(stale));
  maps.erase(MapId::connected, bytes_of(cookies));
  return closed;
}

}  // namespace fairlead::dataplane::ebpf
