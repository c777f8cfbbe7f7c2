#include "tests/dataplane/packet_peers.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::dataplane {
namespace {

sockaddr_in6 native(const SocketAddress& address) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(address.port);
  std::memcpy(&out.sin6_addr, address.ip.bytes.data(), 16);  // IPv4 as ::ffff:a.b.c.d
  return out;
}

std::string peer_text(const sockaddr_in6& address) {
  Ip ip;
  std::memcpy(ip.bytes.data(), &address.sin6_addr, 16);
  return ip.to_string();
}

// One AF_INET6 socket speaks both families.
net::Fd make_socket(int type, int protocol = 0) {
  net::Fd fd(::socket(AF_INET6, type | SOCK_CLOEXEC, protocol));
  const int off = 0, on = 1;
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

void bind_to(const net::Fd& fd, const SocketAddress& address) {
  const sockaddr_in6 name = native(address);
  CHECK(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
}

void set_timeout(const net::Fd& fd, int timeout_ms) {
  const timeval time{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

std::string failure(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "refused";
    case EAGAIN:
    case EINPROGRESS:
    case ETIMEDOUT:
      return "timeout";
    default:
      return cat("error: ", std::strerror(error));
  }
}

std::string receive(const net::Fd& fd) {
  char buffer[256];
  const ssize_t size = ::recv(fd.get(), buffer, sizeof buffer, 0);
  if (size < 0) return failure(errno);
  return {buffer, static_cast<size_t>(size)};
}

bool connect_to(const net::Fd& fd, const SocketAddress& to) {
  const sockaddr_in6 name = native(to);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
}

// From the address that was dialled, which need not be the first one of this place.
void answer_datagram(int fd, const std::string& name) {
  char buffer[256], control[64];
  sockaddr_in6 peer{};
  iovec data{buffer, sizeof buffer};
  msghdr message{&peer, sizeof peer, &data, 1, control, sizeof control, 0};
  if (::recvmsg(fd, &message, 0) < 0) return;
  std::string text = cat(name, " ", peer_text(peer));
  data = {text.data(), text.size()};
  if (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr) {
    in6_pktinfo info;
    std::memcpy(&info, CMSG_DATA(head), sizeof info);
    info.ipi6_ifindex = 0;  // the route says which link
    std::memcpy(CMSG_DATA(head), &info, sizeof info);
  }
  ::sendmsg(fd, &message, 0);
}

}  // namespace

Responder::Responder(std::string name, uint16_t port, const std::vector<Ip>& sctp)
    : name_(std::move(name)),
      tcp_(make_socket(SOCK_STREAM)),
      udp_(make_socket(SOCK_DGRAM)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  bind_to(tcp_, {Ip{}, port});
  bind_to(udp_, {Ip{}, port});
  const int on = 1;
  CHECK(::setsockopt(udp_.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0);
  CHECK(::listen(tcp_.get(), 128) == 0);
  for (const Ip& ip : sctp) {
    net::Fd fd = make_socket(SOCK_STREAM, IPPROTO_SCTP);
    if (!fd) break;
    bind_to(fd, {ip, port});
    CHECK(::listen(fd.get(), 128) == 0);
    sctp_.push_back(std::move(fd));
  }
  thread_ = std::thread([this] { serve(); });
}

Responder::~Responder() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Responder::serve() {
  std::vector<net::Fd> talks;
  for (;;) {
    std::vector<pollfd> ready{
        {stop_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
    for (const net::Fd& one : sctp_) ready.push_back({one.get(), POLLIN, 0});
    const size_t first_talk = ready.size();
    for (const net::Fd& talk : talks) ready.push_back({talk.get(), POLLIN, 0});
    if (::poll(ready.data(), ready.size(), -1) < 0) continue;
    if (ready[0].revents != 0) return;
    char buffer[256];
    for (size_t i = talks.size(); i-- > 0;) {
      if (ready[i + first_talk].revents == 0) continue;
      const ssize_t size = ::recv(talks[i].get(), buffer, sizeof buffer, 0);
      if (size > 0) {
        ::send(talks[i].get(), buffer, static_cast<size_t>(size), MSG_NOSIGNAL);
      } else {
        talks.erase(talks.begin() + static_cast<ptrdiff_t>(i));
      }
    }
    sockaddr_in6 peer{};
    socklen_t length = sizeof peer;
    for (size_t i = 2; i < first_talk; ++i) {
      if (ready[i].revents == 0) continue;
      net::Fd talk(
          ::accept4(ready[i].fd, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC));
      const std::string text = cat(name_, " ", peer_text(peer));
      ::send(talk.get(), text.data(), text.size(), MSG_NOSIGNAL);
      talks.push_back(std::move(talk));
    }
    if (ready[1].revents != 0) answer_datagram(udp_.get(), name_);
  }
}

std::string ask(const Ip& source, const SocketAddress& to, Protocol protocol, int timeout_ms) {
  return ask_from({source, 0}, to, protocol, timeout_ms);
}

std::string ask_from(const SocketAddress& source, const SocketAddress& to, Protocol protocol,
                     int timeout_ms) {
  const bool sctp = protocol == Protocol::sctp;
  const net::Fd fd =
      make_socket(protocol == Protocol::udp ? SOCK_DGRAM : SOCK_STREAM, sctp ? IPPROTO_SCTP : 0);
  set_timeout(fd, timeout_ms);
  // Closing with RST leaves no TIME_WAIT behind: tests make many connections.
  const linger reset{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (source != SocketAddress{}) bind_to(fd, source);
  if (!connect_to(fd, to)) return failure(errno);
  if (protocol == Protocol::udp && ::send(fd.get(), "?", 1, 0) < 0) return failure(errno);
  return receive(fd);
}

Conversation::Conversation(const SocketAddress& to, const SocketAddress& source)
    : fd_(make_socket(SOCK_STREAM)) {
  set_timeout(fd_, 3000);
  if (source != SocketAddress{}) bind_to(fd_, source);
  greeting_ = connect_to(fd_, to) ? receive(fd_) : failure(errno);
}

std::string Conversation::say(const std::string& text) {
  if (::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) return failure(errno);
  return receive(fd_);
}

}  // namespace fairlead::dataplane
