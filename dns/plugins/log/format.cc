#include "dns/plugins/log/format.h"

#include <array>
#include <cstdio>

#include "base/text.h"

namespace fairlead::dns {
namespace {

std::string flags_text(uint16_t flags) {
  constexpr std::array<std::pair<uint16_t, std::string_view>, 7> names{{{flag::qr, "qr"},
                                                                        {flag::aa, "aa"},
                                                                        {flag::tc, "tc"},
                                                                        {flag::rd, "rd"},
                                                                        {flag::ra, "ra"},
                                                                        {flag::ad, "ad"},
                                                                        {flag::cd, "cd"}}};
  std::string out;
  for (const auto& [bit, name] : names) {
    if ((flags & bit) == 0) continue;
    if (!out.empty()) out += ',';
    out += name;
  }
  return out;
}

std::string seconds_text(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9fs", static_cast<double>(ns) / 1e9);
  return text;
}

// The question's name in the spelling of the client.
std::string question_text(const Request& request) {
  if (request.question_end == 0) return "-";
  return name_to_text(
      {reinterpret_cast<const char*>(request.packet.data()) + header_bytes, request.name.size});
}

struct Variable {
  std::string_view name;
  std::string (*value)(const LogFacts&);
};

constexpr std::array variables = std::to_array<Variable>({
    {"remote",
     [](const LogFacts& f) {
       const std::string ip = f.client.ip.to_string();
       return f.client.ip.is_v4() ? ip : cat('[', ip, ']');
     }},
    {"port", [](const LogFacts& f) { return cat(f.client.port); }},
    {">id", [](const LogFacts& f) { return cat(f.request->id); }},
    {"type", [](const LogFacts& f) { return type_text(f.request->type); }},
    {"class", [](const LogFacts& f) { return class_text(f.request->klass); }},
    {"name", [](const LogFacts& f) { return question_text(*f.request); }},
    {"proto", [](const LogFacts& f) { return std::string(f.tcp ? "tcp" : "udp"); }},
    {"size", [](const LogFacts& f) { return cat(f.request->packet.size()); }},
    {">do",
     [](const LogFacts& f) { return std::string(f.request->edns.dnssec_ok ? "true" : "false"); }},
    {">bufsize",
     [](const LogFacts& f) {
       return cat(f.request->edns.present ? f.request->edns.udp_bytes : plain_udp_bytes);
     }},
    {">opcode", [](const LogFacts& f) { return cat((f.request->flags & flag::opcode) >> 11); }},
    {"rcode", [](const LogFacts& f) { return std::string(rcode_text(f.rcode)); }},
    {">rflags", [](const LogFacts& f) { return flags_text(f.reply_flags); }},
    {"rsize", [](const LogFacts& f) { return cat(f.reply_bytes); }},
    {"duration", [](const LogFacts& f) { return seconds_text(f.duration_ns); }},
});

const Variable* find_variable(std::string_view name) {
  for (const auto& variable : variables) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

// Calls text() and variable() for the parts of a format in order.
template <class Text, class Name>
void each_part(std::string_view format, Text text, Name variable) {
  while (!format.empty()) {
    const size_t open = format.find('{');
    const size_t close = format.find('}', open == std::string_view::npos ? 0 : open);
    if (open == std::string_view::npos || close == std::string_view::npos) return text(format);
    text(format.substr(0, open));
    variable(format.substr(open + 1, close - open - 1));
    format.remove_prefix(close + 1);
  }
}

}  // namespace

std::string format_log_line(std::string_view format, const LogFacts& facts) {
  std::string out;
  each_part(
      format, [&](std::string_view text) { out += text; },
      [&](std::string_view name) {
        if (const Variable* variable = find_variable(name)) out += variable->value(facts);
      });
  return out;
}

std::optional<std::string> unknown_log_variable(std::string_view format) {
  std::optional<std::string> unknown;
  each_part(
      format, [](std::string_view) {},
      [&](std::string_view name) {
        if (!unknown && find_variable(name) == nullptr) unknown = cat('{', name, '}');
      });
  return unknown;
}

std::string log_variable_names() {
  std::string out;
  for (const auto& variable : variables) out += cat(out.empty() ? "{" : ", {", variable.name, '}');
  return out;
}

}  // namespace fairlead::dns
