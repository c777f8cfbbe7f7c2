#include "dns/message.h"

#include <cstring>

#include "base/text.h"

namespace fairlead::dns {
namespace {

// RFC 6891 section 6.1.2: {option code, length, data}*.
bool options_are_whole(Bytes rdata) {
  size_t at = 0;
  while (at < rdata.size()) {
    if (at + 4 > rdata.size()) return false;
    at += 4 + read16(rdata.data() + at + 2);
  }
  return at == rdata.size();
}

Verdict parse_records(Bytes packet, Request& out) {
  size_t at = out.question_end;
  const uint8_t* p = packet.data();
  for (int section = 0; section < 3; ++section) {
    for (size_t left = read16(p + 6 + 2 * section); left > 0; --left) {
      const size_t owner = at;
      at = skip_name(packet, at);
      if (at == 0 || at + 10 > packet.size()) return Verdict::format_error;
      const size_t rdata = at + 10;
      const size_t rdata_bytes = read16(p + at + 8);
      if (rdata + rdata_bytes > packet.size()) return Verdict::format_error;
      if (read16(p + at) == type::opt) {
        if (section != 2 || p[owner] != 0 || out.edns.present) return Verdict::format_error;
        if (!options_are_whole(packet.subspan(rdata, rdata_bytes))) return Verdict::format_error;
        out.edns = {.present = true,
                    .dnssec_ok = (p[at + 6] & 0x80) != 0,
                    .version = p[at + 5],
                    .udp_bytes = read16(p + at + 2),
                    .offset = owner};
      }
      at = rdata + rdata_bytes;
    }
  }
  if (at != packet.size()) return Verdict::format_error;
  return out.edns.version > 0 ? Verdict::bad_version : Verdict::ok;
}

}  // namespace

Verdict parse_request(Bytes packet, Request& out) {
  out.packet = packet;
  out.question_end = 0;
  out.edns = {};
  out.type = out.klass = 0;
  if (packet.size() < header_bytes) return Verdict::drop;
  const uint8_t* p = packet.data();
  out.id = read16(p);
  out.flags = read16(p + 2);
  if ((out.flags & flag::qr) != 0) return Verdict::drop;  // two servers must not talk for ever
  if ((out.flags & flag::opcode) != 0) return Verdict::not_implemented;
  if (read16(p + 4) != 1) return Verdict::format_error;
  if (!out.name.assign(p + header_bytes, packet.size() - header_bytes)) {
    return Verdict::format_error;
  }
  const size_t at = header_bytes + out.name.size;
  if (at + 4 > packet.size()) return Verdict::format_error;
  out.type = read16(p + at);
  out.klass = read16(p + at + 2);
  out.question_end = at + 4;
  if (read16(p + 6) != 0 || out.type == type::opt) return Verdict::format_error;
  return parse_records(packet, out);
}

size_t reply_limit(const Request& request, bool tcp) {
  if (tcp) return max_message_bytes;
  if (!request.edns.present) return plain_udp_bytes;
  return std::clamp<size_t>(request.edns.udp_bytes, plain_udp_bytes, max_udp_bytes);
}

size_t skip_name(Bytes message, size_t at) {
  size_t total = 0;
  while (at < message.size()) {
    const uint8_t length = message[at];
    if (length == 0) return total + 1 > max_name_bytes ? 0 : at + 1;
    if ((length & 0xc0) == 0xc0) {
      if (at + 2 > message.size()) return 0;
      const size_t target = read16(message.data() + at) & 0x3fff;
      return target >= header_bytes && target < at ? at + 2 : 0;
    }
    if (length > max_label_bytes) return 0;
    total += 1 + length;
    at += 1 + length;
  }
  return 0;
}

bool read_name(Bytes message, size_t at, std::string& wire) {
  wire.clear();
  size_t lowest = message.size();  // each pointer must lead below where the last one led
  while (at < message.size()) {
    const uint8_t length = message[at];
    if ((length & 0xc0) == 0xc0) {
      if (at + 2 > message.size()) return false;
      const size_t target = read16(message.data() + at) & 0x3fff;
      if (target < header_bytes || target >= at || target >= lowest) return false;
      lowest = at = target;
      continue;
    }
    if (length > max_label_bytes || at + 1 + length > message.size()) return false;
    wire.append(reinterpret_cast<const char*>(message.data()) + at, 1 + length);
    if (wire.size() > max_name_bytes) return false;
    if (length == 0) return true;
    at += 1 + length;
  }
  return false;
}

size_t MessageView::read_record(Bytes message, size_t at, RecordView& out) {
  out.owner = at;
  at = skip_name(message, at);
  if (at == 0 || at + 10 > message.size()) return 0;
  const uint8_t* p = message.data() + at;
  out.type = read16(p);
  out.klass = read16(p + 2);
  out.ttl = read32(p + 4);
  out.rdata = at + 10;
  out.rdata_bytes = read16(p + 8);
  return out.rdata + out.rdata_bytes > message.size() ? 0 : out.rdata + out.rdata_bytes;
}

Result<MessageView> MessageView::parse(Bytes message) {
  if (message.size() < header_bytes) {
    return fail(cat("DNS message of ", message.size(), " bytes, expected at least 12"));
  }
  MessageView view;
  view.bytes_ = message;
  size_t at = header_bytes;
  for (size_t left = view.questions(); left > 0; --left) {
    at = skip_name(message, at);
    if (at == 0 || at + 4 > message.size()) return fail("DNS message with a malformed question");
    at += 4;
  }
  view.question_end_ = at;
  RecordView record{};
  for (int section = 0; section < 3; ++section) {
    for (size_t left = read16(message.data() + 6 + 2 * section); left > 0; --left) {
      const size_t next = read_record(message, at, record);
      if (next == 0) return fail(cat("DNS message with a malformed record at byte ", at));
      at = next;
    }
  }
  return view;
}

}  // namespace fairlead::dns
