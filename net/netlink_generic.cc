#include "net/netlink_generic.h"

#include <linux/genetlink.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <cstring>

#include "base/text.h"
#include "net/netlink_handles.h"

namespace fairlead::net {
namespace {

constexpr size_t header_size = sizeof(nlattr);

using NlMessage = std::unique_ptr<nl_msg, NlFree<nlmsg_free>>;

size_t padded(size_t size) { return (size + 3) & ~size_t{3}; }

}  // namespace

void NetlinkWriter::put(uint16_t type, std::string_view payload) {
  const nlattr header{static_cast<uint16_t>(header_size + payload.size()), type};
  bytes_.append(reinterpret_cast<const char*>(&header), header_size);
  bytes_.append(payload);
  bytes_.resize(padded(bytes_.size()));
}

void NetlinkWriter::put_u16(uint16_t type, uint16_t value) {
  put(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

void NetlinkWriter::put_u32(uint16_t type, uint32_t value) {
  put(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

void NetlinkWriter::put_text(uint16_t type, const std::string& text) {
  put(type, {text.c_str(), text.size() + 1});
}

std::optional<uint16_t> NetlinkReader::Attribute::u16() const {
  uint16_t value;
  if (payload.size() != sizeof value) return std::nullopt;
  std::memcpy(&value, payload.data(), sizeof value);
  return value;
}

std::optional<uint32_t> NetlinkReader::Attribute::u32() const {
  uint32_t value;
  if (payload.size() != sizeof value) return std::nullopt;
  std::memcpy(&value, payload.data(), sizeof value);
  return value;
}

std::string_view NetlinkReader::Attribute::text() const {
  return payload.substr(0, payload.find('\0'));
}

Result<std::optional<NetlinkReader::Attribute>> NetlinkReader::next() {
  if (bytes_.empty()) return std::optional<Attribute>();
  nlattr header;
  if (bytes_.size() < header_size) return fail("netlink attribute: fewer than 4 bytes");
  std::memcpy(&header, bytes_.data(), header_size);
  if (header.nla_len < header_size || header.nla_len > bytes_.size()) {
    return fail(cat("netlink attribute: length ", header.nla_len, ", expected ", header_size,
                    " to ", bytes_.size()));
  }
  const Attribute attribute{static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
                            bytes_.substr(header_size, header.nla_len - header_size)};
  bytes_.remove_prefix(std::min(padded(header.nla_len), bytes_.size()));
  return std::optional(attribute);
}

struct GenericNetlink::Impl {
  NlSocket socket;
  std::string name;
  int family = 0;

  // Of the request that is under way.
  int refused = 0;
  const Each* each = nullptr;
  Result<void> result;

  static int on_message(nl_msg* message, void* argument) {
    auto& self = *static_cast<Impl*>(argument);
    const nlmsghdr* header = nlmsg_hdr(message);
    const bool ours =
        header->nlmsg_type == self.family && nlmsg_datalen(header) >= static_cast<int>(GENL_HDRLEN);
    if (!ours || self.each == nullptr || !self.result) return NL_OK;
    const auto* begin = static_cast<const char*>(nlmsg_data(header)) + GENL_HDRLEN;
    const size_t size = static_cast<size_t>(nlmsg_datalen(header)) - GENL_HDRLEN;
    self.result = (*self.each)({begin, size});
    return NL_OK;
  }

  static int on_error(sockaddr_nl*, nlmsgerr* error, void* argument) {
    static_cast<Impl*>(argument)->refused = -error->error;
    return NL_STOP;
  }

  Result<void> request(uint8_t command, uint8_t version, std::string_view attributes, int flags) {
    const NlMessage message(nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + attributes.size() + 64));
    if (!message) return fail(cat("netlink family ", name, ": out of memory"));
    genlmsg_put(message.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, command, version);
    nlmsg_append(message.get(), const_cast<char*>(attributes.data()), attributes.size(),
                 NLMSG_ALIGNTO);
    refused = 0;
    result = {};
    const int sent = nl_send_auto(socket.get(), message.get());
    if (sent < 0) return fail(cat("netlink family ", name, ": ", nl_geterror(sent)));
    return {};
  }
};

GenericNetlink::GenericNetlink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GenericNetlink::GenericNetlink(GenericNetlink&&) noexcept = default;
GenericNetlink& GenericNetlink::operator=(GenericNetlink&&) noexcept = default;
GenericNetlink::~GenericNetlink() = default;

Result<GenericNetlink> GenericNetlink::open(const std::string& family) {
  auto impl = std::make_unique<Impl>();
  impl->name = family;
  impl->socket.reset(nl_socket_alloc());
  if (!impl->socket) return fail("netlink socket: out of memory");
  if (const int error = genl_connect(impl->socket.get()); error < 0) {
    return fail(cat("netlink family ", family, ": ", nl_geterror(error)));
  }
  impl->family = genl_ctrl_resolve(impl->socket.get(), family.c_str());
  if (impl->family < 0) return fail(cat("this kernel has no netlink family ", family));
  nl_socket_modify_cb(impl->socket.get(), NL_CB_VALID, NL_CB_CUSTOM, Impl::on_message, impl.get());
  nl_socket_modify_err_cb(impl->socket.get(), NL_CB_CUSTOM, Impl::on_error, impl.get());
  return GenericNetlink(std::move(impl));
}

Result<int> GenericNetlink::send(uint8_t command, uint8_t version, std::string_view attributes) {
  impl_->each = nullptr;
  FL_TRY_VOID(impl_->request(command, version, attributes, NLM_F_REQUEST | NLM_F_ACK));
  const int error = nl_wait_for_ack(impl_->socket.get());
  if (impl_->refused != 0) return impl_->refused;
  if (error < 0) return fail(cat("netlink family ", impl_->name, ": ", nl_geterror(error)));
  return 0;
}

Result<int> GenericNetlink::dump(uint8_t command, uint8_t version, std::string_view attributes,
                                 const Each& each) {
  impl_->each = &each;
  FL_TRY_VOID(impl_->request(command, version, attributes, NLM_F_REQUEST | NLM_F_DUMP));
  const int error = nl_recvmsgs_default(impl_->socket.get());
  impl_->each = nullptr;
  if (impl_->refused != 0) return impl_->refused;
  if (error < 0) return fail(cat("netlink family ", impl_->name, ": ", nl_geterror(error)));
  if (!impl_->result) return std::unexpected(impl_->result.error());
  return 0;
}

}  // namespace fairlead::net
