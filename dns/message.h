// The wire format of messages (RFC 1035 section 4, EDNS: RFC 6891). Requests and replies are read
// in place; replies are written into the caller's buffer. Nothing here allocates but the text of
// errors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/result.h"
#include "dns/name.h"
#include "dns/types.h"

namespace fairlead::dns {

inline constexpr size_t header_bytes = 12;
inline constexpr size_t opt_bytes = 11;              // an OPT record without options
inline constexpr size_t max_message_bytes = 65'535;  // RFC 1035 section 4.2.2
inline constexpr size_t plain_udp_bytes = 512;       // RFC 1035 section 4.2.1
inline constexpr size_t max_udp_bytes = 1232;        // DNS flag day 2020; RFC 9715 section 3.2

using Bytes = std::span<const uint8_t>;

inline uint16_t read16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
inline uint32_t read32(const uint8_t* at) {
  return static_cast<uint32_t>(read16(at)) << 16 | read16(at + 2);
}
inline void write16(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
inline void write32(uint8_t* at, uint32_t value) {
  write16(at, static_cast<uint16_t>(value >> 16));
  write16(at + 2, static_cast<uint16_t>(value));
}

struct Edns {
  bool present = false;
  bool dnssec_ok = false;
  uint8_t version = 0;
  uint16_t udp_bytes = 0;
  size_t offset = 0;  // of the OPT record
};

// A request, as far as it could be read.
struct Request {
  Bytes packet;
  uint16_t id = 0, flags = 0;
  FoldedName name;
  uint16_t type = 0, klass = 0;
  size_t question_end = 0;  // 0: the question could not be read
  Edns edns;
};

enum class Verdict : uint8_t {
  ok,
  drop,             // not a request, or too short to answer
  format_error,     // FORMERR
  not_implemented,  // an opcode other than QUERY: NOTIMP
  bad_version,      // EDNS version above 0: BADVERS (RFC 6891 section 6.1.3)
};

// Strict: exactly one uncompressed question (RFC 9619), no answers, every record whole, at most
// one OPT, whose owner is the root, nothing after the last record. `out` views `packet`.
Verdict parse_request(Bytes packet, Request& out);

// Largest reply that this client takes.
size_t reply_limit(const Request& request, bool tcp);

// --- reading whole messages (answers of upstreams) ---

// The place after the name at `at`, or 0 when it is malformed. Pointers are not followed.
size_t skip_name(Bytes message, size_t at);
// The name at `at`, pointers followed backwards only. False when it is malformed.
bool read_name(Bytes message, size_t at, std::string& wire);

enum class Section : uint8_t { answer, authority, additional };

struct RecordView {
  Section section;
  size_t owner;  // offset of the name
  uint16_t type, klass;
  uint32_t ttl;
  size_t rdata;  // offset
  uint16_t rdata_bytes;
};

class MessageView {
 public:
  // Checks the bounds of every record. The bytes must outlive the view.
  static Result<MessageView> parse(Bytes message);

  uint16_t id() const { return read16(bytes_.data()); }
  uint16_t flags() const { return read16(bytes_.data() + 2); }
  uint8_t rcode() const { return static_cast<uint8_t>(flags() & flag::rcode); }
  size_t question_end() const { return question_end_; }  // 12 when there is none
  size_t questions() const { return read16(bytes_.data() + 4); }
  Bytes bytes() const { return bytes_; }

  template <class Visit>
  void each_record(Visit visit) const {
    size_t at = question_end_;
    RecordView record{};
    for (uint8_t section = 0; section < 3; ++section) {
      for (size_t left = read16(bytes_.data() + 6 + 2 * section); left > 0; --left) {
        at = read_record(bytes_, at, record);
        record.section = static_cast<Section>(section);
        visit(record);
      }
    }
  }

 private:
  // The place after the record at `at`, or 0.
  static size_t read_record(Bytes message, size_t at, RecordView& out);

  Bytes bytes_;
  size_t question_end_ = header_bytes;
};

// --- writing replies ---

// The offset of an uncompressed name in the message being written.
using NameRef = uint16_t;
inline constexpr NameRef question_name = header_bytes;

// A name as labels in front of one that the message already holds. suffix 0: in front of the root.
struct NameParts {
  std::string_view labels;  // wire form without the root
  NameRef suffix = 0;
};

// Writes one reply. Records whose target would be longer than a name may be are left out; so are
// those that do not fit, which, unless they are additional, mark the reply as
// truncated (RFC 2181 section 9). Sections must be written in order.
class MessageWriter {
 public:
  // The buffer holds at least `limit` bytes, which is at least plain_udp_bytes. With
  // `echo_question` false the question section is empty.
  void begin(const Request& request, uint8_t* buffer, size_t limit, bool echo_question = true);
  // Goes on with a message that another writer began and that was copied to `buffer`.
  void resume(const MessageWriter& other, uint8_t* buffer) {
    *this = other;
    base_ = buffer;
  }

  bool address(Section section, NameRef owner, uint32_t ttl, const Ip& ip);
  bool a(NameRef owner, uint32_t ttl, const uint8_t* four_bytes);
  bool aaaa(NameRef owner, uint32_t ttl, const uint8_t* sixteen_bytes);
  // CNAME, PTR, NS. The target is written whole; *target_ref is its place.
  bool target(Section section, NameRef owner, uint16_t type, uint32_t ttl, const NameParts& target,
              NameRef* target_ref = nullptr);
  bool srv(NameRef owner, uint32_t ttl, uint16_t weight, uint16_t port, const NameParts& target,
           NameRef* target_ref);  // priority 0; the target is never compressed (RFC 2782)
  bool soa(Section section, NameRef zone, uint32_t ttl, uint32_t serial, uint32_t minimum);
  bool text(NameRef owner, uint16_t type, uint32_t ttl, std::string_view first,
            const std::string_view* second = nullptr);  // TXT with one, HINFO with two strings
  // An answer record as bytes; the owner by `ref`, or written out when that is 0.
  bool raw(NameRef ref, std::string_view owner_wire, uint16_t type, uint32_t ttl,
           std::string_view rdata);

  void set_flags(uint16_t flags) { flags_ |= flags; }
  void set_truncated() { flags_ |= flag::tc; }
  bool truncated() const { return (flags_ & flag::tc) != 0; }
  uint16_t count(Section section) const { return counts_[static_cast<size_t>(section)]; }
  size_t size() const { return at_; }

  // Adds the OPT record when the request had one; the size of the reply.
  size_t finish(uint8_t rcode);

 private:
  bool open(Section section, NameRef owner, uint16_t type, uint32_t ttl, size_t rdata_bytes);
  void put_owner(NameRef owner);
  void put_parts(const NameParts& parts);
  size_t name_size(NameRef ref) const;
  size_t parts_size(const NameParts& parts) const;
  void put(const void* bytes, size_t size);
  bool overflow(Section section);

  uint8_t* base_ = nullptr;
  size_t at_ = 0, limit_ = 0;
  uint16_t id_ = 0, flags_ = 0;
  uint16_t counts_[3] = {};
  bool question_ = false, edns_ = false, dnssec_ok_ = false;
};

}  // namespace fairlead::dns
