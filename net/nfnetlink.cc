#include "net/nfnetlink.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace fairlead::net {
namespace {

constexpr size_t receive_bytes = 64 * 1024;  // the kernel fills at most 32 KiB a message

std::unexpected<Error> fail_errno(std::string_view what) {
  return fail(cat("netfilter netlink: ", what, ": ", std::strerror(errno)));
}

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// Passes on the answers of one received buffer. Nothing: more to come; else the kernel's errno.
std::optional<int> read_messages(std::string_view received, uint32_t sequence,
                                 const Nfnetlink::Answer& answer, bool& interrupted) {
  std::optional<int> ended;
  while (received.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, received.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > received.size()) break;
    const std::string_view body = received.substr(sizeof header, header.nlmsg_len - sizeof header);
    received.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), received.size()));
    if (header.nlmsg_seq != sequence) continue;  // of a request that was given up
    if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
      int error = 0;
      if (body.size() >= sizeof error) std::memcpy(&error, body.data(), sizeof error);
      ended = -error;
    } else if (body.size() >= sizeof(nfgenmsg)) {
      nfgenmsg general;
      std::memcpy(&general, body.data(), sizeof general);
      if (answer) answer(general.nfgen_family, body.substr(NLMSG_ALIGN(sizeof general)));
    }
  }
  return ended;
}

struct Attribute {
  uint16_t type;
  std::string_view bytes;
};

// Takes the first one off the front; nothing at the end and where one is cut off.
std::optional<Attribute> take_attribute(std::string_view& attributes) {
  nlattr header;
  if (attributes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, attributes.data(), sizeof header);
  if (header.nla_len < sizeof header || header.nla_len > attributes.size()) return std::nullopt;
  const Attribute first{static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
                        attributes.substr(sizeof header, header.nla_len - sizeof header)};
  attributes.remove_prefix(std::min<size_t>(NLA_ALIGN(header.nla_len), attributes.size()));
  return first;
}

}  // namespace

NfMessage::NfMessage(uint8_t subsystem, uint8_t type, uint16_t flags, uint8_t family) {
  nlmsghdr header{};
  header.nlmsg_type = static_cast<uint16_t>(subsystem << 8 | type);
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  nfgenmsg general{};
  general.nfgen_family = family;
  general.version = NFNETLINK_V0;
  bytes_.append(bytes_of(header));
  bytes_.append(bytes_of(general));
}

void NfMessage::put(uint16_t type, std::string_view bytes) {
  const nlattr header{static_cast<uint16_t>(sizeof(nlattr) + bytes.size()), type};
  bytes_.append(bytes_of(header));
  bytes_.append(bytes);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NfMessage::put_text(uint16_t type, std::string_view text) { put(type, cat(text, '\0')); }

void NfMessage::put_u16(uint16_t type, uint16_t value) {
  const char bytes[] = {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
  put(type, {bytes, sizeof bytes});
}

size_t NfMessage::begin(uint16_t type) {
  const size_t at = bytes_.size();
  put(static_cast<uint16_t>(type | NLA_F_NESTED), {});
  return at;
}

void NfMessage::end(size_t begun) {
  const auto length = static_cast<uint16_t>(bytes_.size() - begun);
  std::memcpy(bytes_.data() + begun, &length, sizeof length);
}

const std::string& NfMessage::finish(uint32_t sequence) {
  nlmsghdr header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  header.nlmsg_len = static_cast<uint32_t>(bytes_.size());
  header.nlmsg_seq = sequence;
  std::memcpy(bytes_.data(), &header, sizeof header);
  return bytes_;
}

Result<Nfnetlink> Nfnetlink::open() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return fail_errno("cannot open a socket");
  const int size = 4 * 1024 * 1024;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
    return fail_errno("cannot bind");
  }
  return Nfnetlink(std::move(fd));
}

Result<int> Nfnetlink::request(NfMessage& message) { return request(message, nullptr); }

Result<int> Nfnetlink::request(NfMessage& message, const Answer& answer) {
  const std::string& bytes = message.finish(++sequence_);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
               sizeof kernel) < 0) {
    return fail_errno("cannot send");
  }
  buffer_.resize(receive_bytes);
  bool interrupted = false;
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno("cannot receive");
    const auto ended =
        read_messages({buffer_.data(), static_cast<size_t>(size)}, sequence_, answer, interrupted);
    if (ended) return interrupted && *ended == 0 ? EINTR : *ended;
  }
}

void for_each_attribute(std::string_view attributes,
                        const std::function<void(uint16_t, std::string_view)>& visit) {
  while (const auto attribute = take_attribute(attributes)) {
    visit(attribute->type, attribute->bytes);
  }
}

std::optional<std::string_view> find_attribute(std::string_view attributes, uint16_t type) {
  while (const auto attribute = take_attribute(attributes)) {
    if (attribute->type == type) return attribute->bytes;
  }
  return std::nullopt;
}

std::string_view attribute_text(std::string_view bytes) {
  return bytes.substr(0, bytes.find('\0'));
}

}  // namespace fairlead::net
