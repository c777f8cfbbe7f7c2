// nfnetlink (linux/netfilter/nfnetlink.h): requests to the kernel's netfilter subsystems, and
// reading the attributes of what it answers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "net/fd.h"

namespace fairlead::net {

// One request. `subsystem` is NFNL_SUBSYS_*, `family` AF_INET, AF_INET6 or NFPROTO_*.
class NfMessage {
 public:
  NfMessage(uint8_t subsystem, uint8_t type, uint16_t flags, uint8_t family);

  void put(uint16_t type, std::string_view bytes);
  void put_text(uint16_t type, std::string_view text);  // with its terminating zero
  void put_u16(uint16_t type, uint16_t value);          // network order
  // Attributes between the two are inside the one that begin() made.
  size_t begin(uint16_t type);
  void end(size_t begun);

  // With its length filled in; `sequence` in host order.
  const std::string& finish(uint32_t sequence);

 private:
  std::string bytes_;
};

// Synchronous. Acts in the namespace in which the calling thread was at open().
class Nfnetlink {
 public:
  static Result<Nfnetlink> open();

  // Called with the family of each answer and its attributes.
  using Answer = std::function<void(uint8_t family, std::string_view attributes)>;

  // 0, or the kernel's errno. Errors of the socket itself are the Result's.
  Result<int> request(NfMessage& message);
  Result<int> request(NfMessage& message, const Answer& answer);

  // The same for NLM_F_DUMP, read to its end. EINTR: the table changed while it was read.
  Result<int> dump(NfMessage& message, const Answer& answer) { return request(message, answer); }

 private:
  explicit Nfnetlink(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
  uint32_t sequence_ = 0;
  std::string buffer_;
};

// Walks attributes; stops at one that is cut off. Nested flags are taken off the type.
void for_each_attribute(std::string_view attributes,
                        const std::function<void(uint16_t type, std::string_view bytes)>& visit);

// The first one of this type. Several steps go down: find_attribute(a, 1, 2) is 2 inside 1.
std::optional<std::string_view> find_attribute(std::string_view attributes, uint16_t type);
template <class... Rest>
std::optional<std::string_view> find_attribute(std::string_view attributes, uint16_t type,
                                               uint16_t next, Rest... rest) {
  const auto found = find_attribute(attributes, type);
  return found ? find_attribute(*found, next, rest...) : std::nullopt;
}

// The text of a string attribute, without its terminating zero.
std::string_view attribute_text(std::string_view bytes);

}  // namespace fairlead::net
