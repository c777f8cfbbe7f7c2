// Datagrams: buffers for one recvmmsg(2) and the sendmmsg(2) that passes its datagrams on.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "net/socket.h"

namespace fairlead::dataplane::userspace {

class Datagrams {
 public:
  static constexpr size_t most = 16;

  Datagrams();

  // Returns how many came, or -1 with errno. With addresses: who sent each, and to whom.
  int receive(int fd, bool with_addresses);
  // Sends the first `count` of those just received to `to`. Returns how many went.
  int send(int fd, int count, const net::RawAddress& to);

  std::span<const std::byte> data(int index) const;
  const net::RawAddress& sender(int index) const { return senders_[static_cast<size_t>(index)]; }
  SocketAddress dialled(int index) const;

 private:
  static constexpr size_t largest = 65536;  // no UDP datagram is longer
  static constexpr size_t control_size = 256;

  std::unique_ptr<std::byte[]> bytes_;  // untouched pages cost nothing
  std::array<iovec, most> parts_{};
  std::array<mmsghdr, most> headers_{};
  std::array<net::RawAddress, most> senders_{};
  struct alignas(cmsghdr) Control {
    std::byte bytes[control_size];
  };
  std::array<Control, most> controls_{};
};

}  // namespace fairlead::dataplane::userspace
