// Generic netlink (linux/genetlink.h): commands to one kernel family, such as IPVS, by libnl-genl.
// Attributes go in and come out as bytes: whoever knows the family encodes and parses them, with
// NetlinkWriter and NetlinkReader.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead::net {

// Attributes (struct nlattr, native byte order, padded to 4 bytes), one after the other.
class NetlinkWriter {
 public:
  void put(uint16_t type, std::string_view payload);
  void put_u16(uint16_t type, uint16_t value);
  void put_u32(uint16_t type, uint32_t value);
  void put_text(uint16_t type, const std::string& text);  // with its terminating zero
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Walks through attributes. Nothing in them is believed: a length that does not fit is an error.
class NetlinkReader {
 public:
  struct Attribute {
    uint16_t type = 0;  // without the flag bits
    std::string_view payload;
    std::optional<uint16_t> u16() const;  // nothing: the payload has another size
    std::optional<uint32_t> u32() const;
    std::string_view text() const;  // up to the first zero
  };

  explicit NetlinkReader(std::string_view bytes) : bytes_(bytes) {}
  // The next one; nothing at the end.
  Result<std::optional<Attribute>> next();

 private:
  std::string_view bytes_;
};

// Synchronous. Acts in the namespace in which the calling thread was at open(), for good. Used from
// one thread at a time.
class GenericNetlink {
 public:
  // The kernel loads the family's module if it has one.
  static Result<GenericNetlink> open(const std::string& family);
  GenericNetlink(GenericNetlink&&) noexcept;
  GenericNetlink& operator=(GenericNetlink&&) noexcept;
  ~GenericNetlink();

  // 0, or the errno with which the kernel refused. An Error when it could not be asked.
  Result<int> send(uint8_t command, uint8_t version, std::string_view attributes);

  // Asks for a list; `each` gets the attributes of one message, which live until it returns. Its
  // first error ends up as the result.
  using Each = std::function<Result<void>(std::string_view attributes)>;
  Result<int> dump(uint8_t command, uint8_t version, std::string_view attributes, const Each& each);

 private:
  struct Impl;
  explicit GenericNetlink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::net
