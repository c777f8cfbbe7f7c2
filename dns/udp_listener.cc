#include "dns/udp_listener.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "base/text.h"
#include "net/socket.h"

namespace fairlead::dns {
namespace {

constexpr size_t batch_size = 32;
constexpr size_t max_request_bytes = 4096;
constexpr int max_rounds = 8;  // of one wake-up, so that timers and TCP get their turn
constexpr int receive_buffer_bytes = 4 * 1024 * 1024;
constexpr size_t control_bytes = 128;
static_assert(control_bytes >= CMSG_SPACE(sizeof(in6_pktinfo)));
static_assert(control_bytes >= CMSG_SPACE(sizeof(in_pktinfo)));

// The destination of a request becomes the source of its reply. The interface is left to the
// routing table, but for link-local peers, whose route needs it. Exactly one control message stays:
// some kernels tell of an IPv4 request to an IPv6 socket twice, as IPV6_PKTINFO and as IP_PKTINFO,
// and take only one back.
void reverse_pktinfo(msghdr& header) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO;
    const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO;
    if (!v4 && !v6) continue;
    alignas(cmsghdr) uint8_t kept[control_bytes] = {};
    if (v4) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      info.ipi_ifindex = 0;
      info.ipi_spec_dst = info.ipi_addr;
      std::memcpy(CMSG_DATA(c), &info, sizeof info);
    } else {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(c), &info, sizeof info);
    }
    const size_t space = v4 ? CMSG_SPACE(sizeof(in_pktinfo)) : CMSG_SPACE(sizeof(in6_pktinfo));
    std::memcpy(kept, c, v4 ? CMSG_LEN(sizeof(in_pktinfo)) : CMSG_LEN(sizeof(in6_pktinfo)));
    std::memcpy(header.msg_control, kept, space);
    header.msg_controllen = space;
    return;
  }
  header.msg_controllen = 0;
}

}  // namespace

// One slot of a batch: everything that the kernel fills in and reads.
struct UdpListener::Message {
  sockaddr_storage peer;
  iovec in, out;
  alignas(cmsghdr) uint8_t control[control_bytes];
  uint8_t request[max_request_bytes];
  uint8_t reply[max_udp_bytes];
};

struct UdpListener::Batch {
  Message messages[batch_size];
  mmsghdr received[batch_size];
  mmsghdr replies[batch_size];
};

class UdpListener::Late final : public LateReply {
 public:
  Late(UdpListener& listener, const msghdr& header) : listener_(listener) {
    std::memcpy(&peer_, header.msg_name, header.msg_namelen);
    peer_bytes_ = header.msg_namelen;
    control_used_ = header.msg_controllen;
    if (control_used_ > 0) std::memcpy(control_, header.msg_control, control_used_);
  }
  void send(Bytes reply) override {
    iovec data{const_cast<uint8_t*>(reply.data()), reply.size()};
    msghdr header{.msg_name = &peer_,
                  .msg_namelen = peer_bytes_,
                  .msg_iov = &data,
                  .msg_iovlen = 1,
                  .msg_control = control_used_ == 0 ? nullptr : control_,
                  .msg_controllen = control_used_};
    reverse_pktinfo(header);
    [[maybe_unused]] const ssize_t sent =
        ::sendmsg(listener_.fd_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

 private:
  UdpListener& listener_;
  sockaddr_storage peer_{};
  socklen_t peer_bytes_ = 0;
  size_t control_used_ = 0;
  alignas(cmsghdr) uint8_t control_[control_bytes] = {};
};

Result<std::unique_ptr<UdpListener>> UdpListener::open(net::EventLoop& loop,
                                                       const SocketAddress& address, Engine& engine,
                                                       const Site& site) {
  FL_TRY(net::Fd fd, net::bind_udp(address, true));
  FL_TRY(const SocketAddress bound, net::local_address(fd.get()));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
  if (bound.ip.is_unspecified()) {
    // An IPv6 socket tells of IPv4 requests as IPv6, with a mapped address.
    const int on = 1;
    const bool told =
        bound.ip.is_v4()
            ? ::setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0
            : ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0;
    if (!told) return fail(cat("IP_PKTINFO: ", net::errno_text(errno)));
  }
  return std::unique_ptr<UdpListener>(new UdpListener(loop, std::move(fd), bound, engine, site));
}

UdpListener::UdpListener(net::EventLoop& loop, net::Fd fd, SocketAddress address, Engine& engine,
                         const Site& site)
    : loop_(loop),
      fd_(std::move(fd)),
      address_(address),
      engine_(engine),
      site_(site),
      wildcard_(address.ip.is_unspecified()),
      batch_(std::make_unique<Batch>()) {
  for (size_t i = 0; i < batch_size; ++i) {
    Message& message = batch_->messages[i];
    message.in = {message.request, sizeof message.request};
    batch_->received[i].msg_hdr = {
        .msg_name = &message.peer, .msg_iov = &message.in, .msg_iovlen = 1};
  }
}

UdpListener::~UdpListener() = default;

void UdpListener::start() {
  watch_ = loop_.watch(fd_.get(), EPOLLIN, [this](uint32_t) {
    for (int round = 0; round < max_rounds && receive(); ++round) {
    }
  });
}

namespace {
class MessageOrigin final : public Origin {
 public:
  using Defer = std::unique_ptr<LateReply> (*)(void* listener, const msghdr& header);
  MessageOrigin(const msghdr& header, void* listener, Defer make_late)
      : header_(header), listener_(listener), make_late_(make_late) {}
  bool tcp() const override { return false; }
  bool ipv6() const override {
    const auto& peer = *static_cast<const sockaddr_storage*>(header_.msg_name);
    if (peer.ss_family != AF_INET6) return false;
    const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(&peer);
    return !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
  }
  SocketAddress client() const override {
    return net::from_raw(*static_cast<const sockaddr_storage*>(header_.msg_name));
  }
  std::unique_ptr<LateReply> defer() override { return make_late_(listener_, header_); }

 private:
  const msghdr& header_;
  void* listener_;
  Defer make_late_;
};
}  // namespace

bool UdpListener::receive() {
  Batch& batch = *batch_;
  for (size_t i = 0; i < batch_size; ++i) {
    msghdr& header = batch.received[i].msg_hdr;
    header.msg_namelen = sizeof batch.messages[i].peer;
    header.msg_control = wildcard_ ? batch.messages[i].control : nullptr;
    header.msg_controllen = wildcard_ ? control_bytes : 0;
    header.msg_flags = 0;
  }
  const int got = ::recvmmsg(fd_.get(), batch.received, batch_size, MSG_DONTWAIT, nullptr);
  if (got <= 0) return false;
  engine_.begin_batch();
  size_t replies = 0;
  for (int i = 0; i < got; ++i) {
    Message& message = batch.messages[i];
    msghdr& header = batch.received[i].msg_hdr;
    if ((header.msg_flags & MSG_TRUNC) != 0) continue;  // no query is that long
    MessageOrigin origin(header, this, [](void* listener, const msghdr& from) {
      return std::unique_ptr<LateReply>(new Late(*static_cast<UdpListener*>(listener), from));
    });
    const size_t size =
        engine_.handle({message.request, batch.received[i].msg_len}, site_, origin, message.reply);
    if (size == 0) continue;
    message.out = {message.reply, size};
    msghdr& reply = batch.replies[replies++].msg_hdr;
    reply = header;
    reply.msg_iov = &message.out;
    reply.msg_flags = 0;
    if (wildcard_) reverse_pktinfo(reply);
  }
  if (replies > 0) send(replies);
  engine_.end_batch();
  return got == static_cast<int>(batch_size);
}

// What the kernel does not take now is lost, as on any network: the client asks again.
void UdpListener::send(size_t count) {
  for (size_t sent = 0; sent < count;) {
    const int taken = ::sendmmsg(fd_.get(), batch_->replies + sent,
                                 static_cast<unsigned>(count - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) return;
    sent += taken < 0 ? 1 : static_cast<size_t>(taken);  // one bad address must not hold the rest
  }
}

}  // namespace fairlead::dns
