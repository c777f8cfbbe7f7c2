#include <cstring>

#include "dns/message.h"

namespace fairlead::dns {

using namespace std::string_view_literals;

namespace {
constexpr size_t record_head_bytes = 10;  // type, class, TTL, length
constexpr size_t max_pointer = 0x3fff;    // what 14 bits reach
constexpr NameParts soa_mname{.labels = "\2ns\3dns"sv};
constexpr NameParts soa_rname{.labels = "\12hostmaster"sv};
constexpr uint32_t soa_refresh_s = 7200, soa_retry_s = 1800, soa_expire_s = 86400;
}  // namespace

void MessageWriter::begin(const Request& request, uint8_t* buffer, size_t limit,
                          bool echo_question) {
  base_ = buffer;
  edns_ = request.edns.present;
  dnssec_ok_ = request.edns.dnssec_ok;
  limit_ = edns_ ? limit - opt_bytes : limit;
  id_ = request.id;
  flags_ = flag::qr | (request.flags & (flag::opcode | flag::rd | flag::cd));
  counts_[0] = counts_[1] = counts_[2] = 0;
  question_ = echo_question && request.question_end != 0;
  at_ = header_bytes;
  if (!question_) return;
  std::memcpy(base_ + at_, request.packet.data() + at_, request.question_end - at_);
  at_ = request.question_end;
}

void MessageWriter::put(const void* bytes, size_t size) {
  if (size == 0) return;  // an empty view may be a null pointer
  std::memcpy(base_ + at_, bytes, size);
  at_ += size;
}

size_t MessageWriter::name_size(NameRef ref) const {
  size_t at = ref;
  while (base_[at] != 0) at += 1 + base_[at];
  return at + 1 - ref;
}

size_t MessageWriter::parts_size(const NameParts& parts) const {
  return parts.labels.size() + (parts.suffix == 0 ? 1 : name_size(parts.suffix));
}

void MessageWriter::put_owner(NameRef owner) {
  if (owner <= max_pointer) {
    write16(base_ + at_, static_cast<uint16_t>(0xc000 | owner));
    at_ += 2;
  } else {
    put_parts({.labels = {}, .suffix = owner});
  }
}

void MessageWriter::put_parts(const NameParts& parts) {
  put(parts.labels.data(), parts.labels.size());
  if (parts.suffix == 0) {
    base_[at_++] = 0;
  } else {
    put(base_ + parts.suffix, name_size(parts.suffix));
  }
}

bool MessageWriter::overflow(Section section) {
  if (section != Section::additional) set_truncated();
  return false;
}

bool MessageWriter::open(Section section, NameRef owner, uint16_t type, uint32_t ttl,
                         size_t rdata_bytes) {
  const size_t owner_bytes = owner <= max_pointer ? 2 : name_size(owner);
  if (at_ + owner_bytes + record_head_bytes + rdata_bytes > limit_) return overflow(section);
  put_owner(owner);
  write16(base_ + at_, type);
  write16(base_ + at_ + 2, klass::in);
  write32(base_ + at_ + 4, ttl);
  write16(base_ + at_ + 8, static_cast<uint16_t>(rdata_bytes));
  at_ += record_head_bytes;
  ++counts_[static_cast<size_t>(section)];
  return true;
}

bool MessageWriter::address(Section section, NameRef owner, uint32_t ttl, const Ip& ip) {
  const bool v4 = ip.is_v4();
  const size_t size = v4 ? 4 : 16;
  if (!open(section, owner, v4 ? type::a : type::aaaa, ttl, size)) return false;
  put(ip.bytes.data() + 16 - size, size);
  return true;
}

bool MessageWriter::a(NameRef owner, uint32_t ttl, const uint8_t* four_bytes) {
  if (!open(Section::answer, owner, type::a, ttl, 4)) return false;
  put(four_bytes, 4);
  return true;
}

bool MessageWriter::aaaa(NameRef owner, uint32_t ttl, const uint8_t* sixteen_bytes) {
  if (!open(Section::answer, owner, type::aaaa, ttl, 16)) return false;
  put(sixteen_bytes, 16);
  return true;
}

bool MessageWriter::target(Section section, NameRef owner, uint16_t type, uint32_t ttl,
                           const NameParts& target, NameRef* target_ref) {
  const size_t target_bytes = parts_size(target);
  if (target_bytes > max_name_bytes || !open(section, owner, type, ttl, target_bytes)) return false;
  if (target_ref != nullptr) *target_ref = static_cast<NameRef>(at_);
  put_parts(target);
  return true;
}

bool MessageWriter::srv(NameRef owner, uint32_t ttl, uint16_t weight, uint16_t port,
                        const NameParts& target, NameRef* target_ref) {
  const size_t target_bytes = parts_size(target);
  if (target_bytes > max_name_bytes) return false;
  if (!open(Section::answer, owner, type::srv, ttl, 6 + target_bytes)) return false;
  write16(base_ + at_, 0);
  write16(base_ + at_ + 2, weight);
  write16(base_ + at_ + 4, port);
  at_ += 6;
  *target_ref = static_cast<NameRef>(at_);
  put_parts(target);
  return true;
}

bool MessageWriter::soa(Section section, NameRef zone, uint32_t ttl, uint32_t serial,
                        uint32_t minimum) {
  // Both names end with a pointer to the zone; `zone` lies in the question, so it reaches.
  const size_t names = soa_mname.labels.size() + soa_rname.labels.size() + 4;
  if (!open(section, zone, type::soa, ttl, names + 20)) return false;
  for (const NameParts& name : {soa_mname, soa_rname}) {
    put(name.labels.data(), name.labels.size());
    put_owner(zone);
  }
  for (const uint32_t value : {serial, soa_refresh_s, soa_retry_s, soa_expire_s, minimum}) {
    write32(base_ + at_, value);
    at_ += 4;
  }
  return true;
}

bool MessageWriter::text(NameRef owner, uint16_t type, uint32_t ttl, std::string_view first,
                         const std::string_view* second) {
  const size_t size = 1 + first.size() + (second == nullptr ? 0 : 1 + second->size());
  if (!open(Section::answer, owner, type, ttl, size)) return false;
  base_[at_++] = static_cast<uint8_t>(first.size());
  put(first.data(), first.size());
  if (second == nullptr) return true;
  base_[at_++] = static_cast<uint8_t>(second->size());
  put(second->data(), second->size());
  return true;
}

bool MessageWriter::raw(NameRef ref, std::string_view owner_wire, uint16_t type, uint32_t ttl,
                        std::string_view rdata) {
  const size_t owner_bytes = ref != 0 && ref <= max_pointer ? 2 : owner_wire.size();
  if (at_ + owner_bytes + record_head_bytes + rdata.size() > limit_) {
    return overflow(Section::answer);
  }
  if (owner_bytes == 2) {
    put_owner(ref);
  } else {
    put(owner_wire.data(), owner_wire.size());
  }
  write16(base_ + at_, type);
  write16(base_ + at_ + 2, klass::in);
  write32(base_ + at_ + 4, ttl);
  write16(base_ + at_ + 8, static_cast<uint16_t>(rdata.size()));
  at_ += record_head_bytes;
  put(rdata.data(), rdata.size());
  ++counts_[0];
  return true;
}

size_t MessageWriter::finish(uint8_t rcode) {
  if (edns_) {
    base_[at_] = 0;  // the root
    write16(base_ + at_ + 1, type::opt);
    write16(base_ + at_ + 3, max_udp_bytes);
    base_[at_ + 5] = static_cast<uint8_t>(rcode >> 4);  // the upper eight of the twelve bits
    base_[at_ + 6] = 0;                                 // version
    write16(base_ + at_ + 7, dnssec_ok_ ? 0x8000 : 0);
    write16(base_ + at_ + 9, 0);
    at_ += opt_bytes;
    ++counts_[2];
  }
  write16(base_, id_);
  write16(base_ + 2, static_cast<uint16_t>(flags_ | (rcode & 15)));
  write16(base_ + 4, question_ ? 1 : 0);
  for (size_t i = 0; i < 3; ++i) write16(base_ + 6 + 2 * i, counts_[i]);
  return at_;
}

}  // namespace fairlead::dns
