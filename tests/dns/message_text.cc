#include "message_text.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::dns::testing {
namespace {

void add16(std::string& out, uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}
void add32(std::string& out, uint32_t value) {
  add16(out, static_cast<uint16_t>(value >> 16));
  add16(out, static_cast<uint16_t>(value));
}

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string name_at(Bytes message, size_t at) {
  std::string wire;
  EXPECT_TRUE(read_name(message, at, wire)) << "bad name at byte " << at;
  return name_to_text(wire);
}

std::string strings(std::string_view rdata) {
  std::string out;
  for (size_t at = 0; at < rdata.size(); at += 1 + static_cast<uint8_t>(rdata[at])) {
    const auto length = static_cast<uint8_t>(rdata[at]);
    out += cat(out.empty() ? "\"" : " \"", rdata.substr(at + 1, length), '"');
  }
  return out;
}

std::string soa_text(Bytes message, size_t at) {
  std::string out = name_at(message, at);
  at = skip_name(message, at);
  out += ' ' + name_at(message, at);
  at = skip_name(message, at);
  for (int i = 0; i < 5; ++i, at += 4) out += cat(' ', read32(message.data() + at));
  return out;
}

std::string rdata_text(Bytes message, const RecordView& record) {
  const uint8_t* p = message.data() + record.rdata;
  const std::string_view raw(reinterpret_cast<const char*>(p), record.rdata_bytes);
  switch (record.type) {
    case type::a:
      return Ip::v4(read32(p)).to_string();
    case type::aaaa: {
      std::array<uint8_t, 16> bytes;
      std::copy_n(p, 16, bytes.begin());
      return Ip::v6(bytes).to_string();
    }
    case type::cname:
    case type::ns:
    case type::ptr:
      return name_at(message, record.rdata);
    case type::srv:
      return cat(read16(p), ' ', read16(p + 2), ' ', read16(p + 4), ' ',
                 name_at(message, record.rdata + 6));
    case type::mx:
      return cat(read16(p), ' ', name_at(message, record.rdata + 2));
    case type::soa:
      return soa_text(message, record.rdata);
    case type::txt:
    case type::hinfo:
      return strings(raw);
    default:
      return cat("\\# ", raw.size(), ' ', hex(raw));
  }
}

std::string flags_text(uint16_t flags) {
  std::string out;
  const auto add = [&](uint16_t bit, std::string_view name) {
    if ((flags & bit) != 0) out += cat(out.empty() ? "" : " ", name);
  };
  add(flag::qr, "qr");
  add(flag::aa, "aa");
  add(flag::tc, "tc");
  add(flag::rd, "rd");
  add(flag::ra, "ra");
  add(flag::ad, "ad");
  add(flag::cd, "cd");
  return out;
}

std::string rdata_wire(uint16_t type, const std::vector<std::string>& words) {
  std::string out;
  const auto ip = words.size() > 3 ? Ip::parse(words[3]) : std::nullopt;
  if (type == type::a || type == type::aaaa) {
    const size_t size = type == type::a ? 4 : 16;
    out.assign(reinterpret_cast<const char*>(ip.value().bytes.data()) + 16 - size, size);
  } else if (type == type::txt) {
    out = cat(static_cast<char>(words[3].size()), words[3]);
  } else if (type == type::mx) {
    add16(out, static_cast<uint16_t>(parse_int(words[3]).value()));
    out += name_to_wire(words[4]).value();
  } else {
    out = name_to_wire(words[3]).value();
  }
  return out;
}

}  // namespace

std::string hex(std::string_view bytes) { return hex_encode(bytes); }

std::string unhex(std::string_view text) {
  std::string out;
  int high = -1;
  for (const char c : text) {
    const size_t digit = std::string_view("0123456789abcdef").find(c);
    if (digit == std::string_view::npos) continue;
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      out += static_cast<char>(high * 16 + static_cast<int>(digit));
      high = -1;
    }
  }
  return out;
}

std::string ask(std::string_view name, uint16_t type, const AskOptions& options) {
  std::string out;
  add16(out, options.id);
  add16(out,
        static_cast<uint16_t>(options.opcode << 11 | (options.recursion_desired ? flag::rd : 0)));
  add16(out, 1);
  add16(out, 0);
  add16(out, 0);
  add16(out, options.edns ? 1 : 0);
  const auto wire = name_to_wire(name);
  EXPECT_TRUE(wire) << name;
  out += wire.value_or(std::string(1, '\0'));
  add16(out, type);
  add16(out, options.klass);
  if (options.edns) {
    out += '\0';
    add16(out, type::opt);
    add16(out, options.udp_bytes);
    add32(out, static_cast<uint32_t>(options.version) << 16 | (options.dnssec_ok ? 0x8000u : 0u));
    add16(out, static_cast<uint16_t>(options.options.size()));
    out += options.options;
  }
  return out;
}

Reply read_reply(std::string_view wire) {
  Reply reply;
  const Bytes message = bytes_of(wire);
  const auto view = MessageView::parse(message);
  EXPECT_TRUE(view) << view.error().message;
  if (!view) return reply;
  reply.flags = flags_text(view->flags());
  unsigned rcode = view->rcode();
  if (view->questions() == 1) {
    const uint8_t* end = message.data() + view->question_end();
    reply.question = cat(name_at(message, header_bytes), ' ', type_text(read16(end - 4)));
  }
  view->each_record([&](const RecordView& record) {
    if (record.type == type::opt) {
      reply.edns = true;
      reply.edns_bytes = record.klass;
      reply.dnssec_ok = (record.ttl & 0x8000) != 0;
      rcode |= record.ttl >> 24 << 4;
      return;
    }
    auto& section = record.section == Section::answer      ? reply.answer
                    : record.section == Section::authority ? reply.authority
                                                           : reply.additional;
    section.push_back(cat(name_at(message, record.owner), ' ', record.ttl, ' ',
                          type_text(record.type), ' ', rdata_text(message, record)));
  });
  reply.rcode = rcode_text(static_cast<uint8_t>(rcode));
  return reply;
}

std::string make_reply(std::string_view request, uint8_t rcode,
                       const std::vector<std::string>& answers, uint16_t flags) {
  Request parsed;
  parse_request(bytes_of(request), parsed);
  std::string out(request.substr(0, parsed.question_end));
  auto* p = reinterpret_cast<uint8_t*>(out.data());
  write16(p + 2, static_cast<uint16_t>(flags | rcode));
  write16(p + 6, static_cast<uint16_t>(answers.size()));
  write32(p + 8, 0);
  for (const auto& line : answers) {
    std::vector<std::string> words;
    for (const auto word : split(line, ' ')) words.emplace_back(word);
    const uint16_t type = type_from_text(words.at(2));
    const std::string rdata = rdata_wire(type, words);
    out += name_to_wire(words[0]).value();
    add16(out, type);
    add16(out, klass::in);
    add32(out, static_cast<uint32_t>(parse_int(words[1]).value()));
    add16(out, static_cast<uint16_t>(rdata.size()));
    out += rdata;
  }
  return out;
}

}  // namespace fairlead::dns::testing
