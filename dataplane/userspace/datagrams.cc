#include "dataplane/userspace/datagrams.h"

#include "dataplane/userspace/sockets.h"

namespace fairlead::dataplane::userspace {

Datagrams::Datagrams() : bytes_(new std::byte[most * largest]) {}

int Datagrams::receive(int fd, bool with_addresses) {
  for (size_t i = 0; i < most; ++i) {
    parts_[i] = {bytes_.get() + i * largest, largest};
    headers_[i] = {};
    msghdr& header = headers_[i].msg_hdr;
    header.msg_iov = &parts_[i];
    header.msg_iovlen = 1;
    if (!with_addresses) continue;
    header.msg_name = &senders_[i].storage;
    header.msg_namelen = sizeof senders_[i].storage;
    header.msg_control = controls_[i].bytes;
    header.msg_controllen = control_size;
  }
  const int count = ::recvmmsg(fd, headers_.data(), most, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < count && with_addresses; ++i) {
    senders_[static_cast<size_t>(i)].size = headers_[static_cast<size_t>(i)].msg_hdr.msg_namelen;
  }
  return count;
}

int Datagrams::send(int fd, int count, const net::RawAddress& to) {
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    parts_[i].iov_len = headers_[i].msg_len;
    msghdr& header = headers_[i].msg_hdr;
    header.msg_name = const_cast<sockaddr_storage*>(&to.storage);
    header.msg_namelen = to.size;
    header.msg_control = nullptr;
    header.msg_controllen = 0;
  }
  int sent = 0;
  while (sent < count) {
    const int more = ::sendmmsg(fd, headers_.data() + sent, static_cast<unsigned>(count - sent),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (more <= 0) break;
    sent += more;
  }
  return sent;
}

std::span<const std::byte> Datagrams::data(int index) const {
  const size_t i = static_cast<size_t>(index);
  return {bytes_.get() + i * largest, headers_[i].msg_len};
}

SocketAddress Datagrams::dialled(int index) const {
  return dialled_address(headers_[static_cast<size_t>(index)].msg_hdr);
}

}  // namespace fairlead::dataplane::userspace
