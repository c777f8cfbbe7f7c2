#include "controlplane/objects/protobuf.h"

#include <chrono>
#include <cstdio>

#include "api/utf8.h"
#include "base/text.h"
#include "controlplane/objects/protobuf_tables.h"
#include "controlplane/objects/protobuf_wire.h"

namespace fairlead::controlplane {
namespace {

constexpr int64_t kFirstSecond = -62135596800;  // 0001-01-01, which is also Go's zero time
constexpr int64_t kLastSecond = 253402300799;   // 9999-12-31

// RFC 3339. WallTime, which counts nanoseconds, ends in 2262.
std::string time_text(int64_t seconds) {
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto midnight = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(midnight);
  const std::chrono::hh_mm_ss clock(time - midnight);
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text;
}

// Decodes one body; the budget is for all of it.
class BodyDecoder {
 public:
  explicit BodyDecoder(ProtobufTables& tables) : tables_(tables) {}

  Result<json::value> message(const ProtobufMessage& type, std::string_view bytes, int depth) {
    if (depth > max_protobuf_depth)
      return fail(cat(type.name, ": nested deeper than ", max_protobuf_depth, " levels"));
    switch (type.form) {
      case MessageForm::time:
        return time(type, bytes, 0);
      case MessageForm::micro_time:
        return time(type, bytes, 6);
      case MessageForm::quantity:
        return quantity(type, bytes);
      case MessageForm::int_or_string:
        return int_or_string(type, bytes);
      case MessageForm::raw_json:
        return raw_json(type, bytes);
      case MessageForm::list:
      case MessageForm::object:
        break;
    }
    json::object out;
    FL_TRY_VOID(object(type, bytes, depth, out));
    if (type.form == MessageForm::object) return out;
    const json::value* items = out.if_contains("items");
    return items == nullptr ? json::value(json::array()) : *items;
  }

 private:
  static std::unexpected<Error> malformed(const ProtobufMessage& type, std::string_view what) {
    return fail(cat("protobuf ", type.name, ": ", what));
  }

  Result<WireField> next(WireReader& reader, const ProtobufMessage& type) {
    if (++values_ > max_protobuf_values)
      return fail(cat("protobuf body: more than ", max_protobuf_values, " values"));
    const auto field = reader.next();
    if (!field) return malformed(type, "truncated or malformed field");
    return *field;
  }

  Result<void> object(const ProtobufMessage& type, std::string_view bytes, int depth,
                      json::object& out) {
    WireReader reader(bytes);
    while (!reader.done()) {
      FL_TRY(const WireField wire, next(reader, type));
      const ProtobufField* field = type.find(wire.number);
      if (field != nullptr) FL_TRY_VOID(member(type, *field, wire, depth, out));
    }
    return {};
  }

  Result<void> member(const ProtobufMessage& type, const ProtobufField& field,
                      const WireField& wire, int depth, json::object& out) {
    const bool length_delimited = field.map || field.kind == WireKind::string ||
                                  field.kind == WireKind::bytes || field.kind == WireKind::message;
    const bool packed = field.repeated && !length_delimited && wire.type == 2;
    if (wire.type != (length_delimited ? 2 : 0) && !packed)
      return malformed(type, cat("field ", field.name, " has wire type ", wire.type));
    if (field.map) return map_entry(type, field, wire.bytes, depth, out);
    if (field.inlined) return inlined(type, field, wire.bytes, depth, out);
    if (packed) return packed_numbers(type, field, wire.bytes, out);
    FL_TRY(json::value value, single(type, field, wire, depth));
    if (field.repeated) {
      json::value& list = out[field.name];
      if (!list.is_array()) list = json::array();
      list.get_array().push_back(std::move(value));
    } else if (field.pointer ? !value.is_null() : !is_zero(value)) {
      out[field.name] = std::move(value);
    }
    return {};
  }

  // gogo writes every field that is not a pointer, so a zero one was most likely never set.
  static bool is_zero(const json::value& value) {
    if (value.is_string()) return value.get_string().empty();
    if (value.is_int64()) return value.get_int64() == 0;
    if (value.is_bool()) return !value.get_bool();
    if (value.is_object()) return value.get_object().empty();
    if (value.is_array()) return value.get_array().empty();
    return value.is_null();
  }

  Result<json::value> single(const ProtobufMessage& type, const ProtobufField& field,
                             const WireField& wire, int depth) {
    switch (field.kind) {
      case WireKind::integer32:
        return static_cast<int64_t>(static_cast<int32_t>(wire.varint));
      case WireKind::integer64:
        return static_cast<int64_t>(wire.varint);
      case WireKind::boolean:
        return wire.varint != 0;
      case WireKind::bytes:
        return json::value(base64_encode(wire.bytes));
      case WireKind::string:
        if (!api::is_utf8(wire.bytes))
          return malformed(type, cat(field.name, " is not valid UTF-8"));
        return json::value(wire.bytes);
      case WireKind::message:
        break;
    }
    const ProtobufMessage* nested = tables_.find(field.message);
    if (nested == nullptr) return malformed(type, cat(field.name, " is of an unknown type"));
    return message(*nested, wire.bytes, depth + 1);
  }

  Result<void> inlined(const ProtobufMessage& type, const ProtobufField& field,
                       std::string_view bytes, int depth, json::object& out) {
    const ProtobufMessage* nested = tables_.find(field.message);
    if (nested == nullptr) return malformed(type, cat(field.name, " is of an unknown type"));
    if (depth >= max_protobuf_depth) return malformed(type, "nested too deep");
    return object(*nested, bytes, depth + 1, out);
  }

  Result<void> packed_numbers(const ProtobufMessage& type, const ProtobufField& field,
                              std::string_view bytes, json::object& out) {
    json::value& list = out[field.name];
    if (!list.is_array()) list = json::array();
    WireReader reader(bytes);
    while (!reader.done()) {
      const auto number = reader.varint();
      if (!number || ++values_ > max_protobuf_values)
        return malformed(type, cat("bad packed numbers in ", field.name));
      const bool narrow = field.kind == WireKind::integer32;
      json::value value = narrow ? static_cast<int64_t>(static_cast<int32_t>(*number))
                                 : static_cast<int64_t>(*number);
      if (field.kind == WireKind::boolean) value = *number != 0;
      list.get_array().push_back(std::move(value));
    }
    return {};
  }

  // A map is a repeated {1: key, 2: value}; an absent part is its type's zero.
  Result<void> map_entry(const ProtobufMessage& type, const ProtobufField& field,
                         std::string_view bytes, int depth, json::object& out) {
    json::value& map = out[field.name];
    if (!map.is_object()) map = json::object();
    std::string key;
    WireField value_field{.number = 2, .type = 2};
    WireReader reader(bytes);
    while (!reader.done()) {
      FL_TRY(const WireField wire, next(reader, type));
      if ((wire.number == 1 || wire.number == 2) && wire.type != 2)
        return malformed(type, cat("bad entry in map ", field.name));
      if (wire.number == 1) key = wire.bytes;
      if (wire.number == 2) value_field = wire;
    }
    if (!api::is_utf8(key)) return malformed(type, cat("a key of ", field.name, " is no UTF-8"));
    FL_TRY(json::value value, single(type, field, value_field, depth));
    map.get_object()[key] = std::move(value);
    return {};
  }

  Result<json::value> time(const ProtobufMessage& type, std::string_view bytes, int digits) {
    int64_t seconds = 0, nanos = 0;
    if (bytes.empty()) return json::value(nullptr);
    WireReader reader(bytes);
    while (!reader.done()) {
      FL_TRY(const WireField wire, next(reader, type));
      if (wire.number == 1 && wire.type == 0) seconds = static_cast<int64_t>(wire.varint);
      if (wire.number == 2 && wire.type == 0) nanos = static_cast<int32_t>(wire.varint);
    }
    if (seconds == kFirstSecond && nanos == 0) return json::value(nullptr);
    if (seconds < kFirstSecond || seconds > kLastSecond || nanos < 0 || nanos > 999'999'999)
      return malformed(type, "a time outside the years 1 to 9999");
    std::string text = time_text(seconds);
    if (digits > 0) {
      std::string fraction = cat(1'000'000 + nanos / 1000);
      text.replace(text.size() - 1, 1, cat(".", std::string_view(fraction).substr(1), "Z"));
    }
    return json::value(text);
  }

  Result<json::value> quantity(const ProtobufMessage& type, std::string_view bytes) {
    json::object fields;
    FL_TRY_VOID(object(type, bytes, max_protobuf_depth, fields));
    const json::value* text = fields.if_contains("string");
    return text == nullptr ? json::value("0") : *text;
  }

  Result<json::value> int_or_string(const ProtobufMessage& type, std::string_view bytes) {
    json::object fields;
    FL_TRY_VOID(object(type, bytes, max_protobuf_depth, fields));
    const json::value* number = fields.if_contains("intVal");
    const json::value* text = fields.if_contains("strVal");
    const json::value* is_text = fields.if_contains("type");
    if (is_text != nullptr) return text == nullptr ? json::value("") : *text;
    return number == nullptr ? json::value(0) : *number;
  }

  Result<json::value> raw_json(const ProtobufMessage& type, std::string_view bytes) {
    WireReader reader(bytes);
    std::string_view raw;
    while (!reader.done()) {
      FL_TRY(const WireField wire, next(reader, type));
      if (wire.number == 1 && wire.type == 2) raw = wire.bytes;
    }
    if (raw.empty()) return json::value(nullptr);
    auto parsed = parse_json(raw);
    if (!parsed) return malformed(type, parsed.error().message);
    values_ += raw.size() / 8;
    return *std::move(parsed);
  }

  ProtobufTables& tables_;
  size_t values_ = 0;
};

struct Envelope {
  std::string api_version, kind;
  std::string_view raw, encoding, content_type;
};

Result<Envelope> open_envelope(std::string_view body) {
  constexpr std::string_view magic("k8s\0", 4);
  if (body.size() > max_protobuf_bytes)
    return fail(cat("protobuf body: ", body.size(), " bytes, at most ", max_protobuf_bytes));
  if (!body.starts_with(magic)) return fail("protobuf body: does not begin with \"k8s\\0\"");
  Envelope out;
  WireReader reader(body.substr(magic.size()));
  while (!reader.done()) {
    const auto field = reader.next();
    if (!field) return fail("protobuf body: truncated or malformed envelope");
    if (field->type != 2) continue;
    if (field->number == 2) out.raw = field->bytes;
    if (field->number == 3) out.encoding = field->bytes;
    if (field->number == 4) out.content_type = field->bytes;
    if (field->number != 1) continue;
    WireReader type_meta(field->bytes);
    while (!type_meta.done()) {
      const auto part = type_meta.next();
      if (!part) return fail("protobuf body: malformed apiVersion and kind");
      if (part->number == 1 && part->type == 2) out.api_version = part->bytes;
      if (part->number == 2 && part->type == 2) out.kind = part->bytes;
    }
  }
  if (out.api_version.empty() || out.kind.empty())
    return fail("protobuf body: names no apiVersion or no kind");
  if (!out.encoding.empty() ||
      (!out.content_type.empty() && out.content_type != "application/vnd.kubernetes.protobuf"))
    return fail("protobuf body: only plain protobuf content is understood");
  return out;
}

}  // namespace

ProtobufDecoder::ProtobufDecoder() : tables_(std::make_unique<ProtobufTables>()) {}
ProtobufDecoder::ProtobufDecoder(ProtobufDecoder&&) noexcept = default;
ProtobufDecoder& ProtobufDecoder::operator=(ProtobufDecoder&&) noexcept = default;
ProtobufDecoder::~ProtobufDecoder() = default;

Result<json::value> ProtobufDecoder::decode(std::string_view body) const {
  FL_TRY(const Envelope envelope, open_envelope(body));
  const ProtobufMessage* type = tables_->find_kind(envelope.api_version, envelope.kind);
  if (type == nullptr || type->form != MessageForm::object)
    return fail(cat("protobuf body: no kind \"", api::is_utf8(envelope.kind) ? envelope.kind : "?",
                    "\" in \"", api::is_utf8(envelope.api_version) ? envelope.api_version : "?",
                    "\""));
  BodyDecoder decoder(*tables_);
  FL_TRY(json::value decoded, decoder.message(*type, envelope.raw, 1));
  json::object out;
  out["kind"] = envelope.kind;
  out["apiVersion"] = envelope.api_version;
  for (auto& member : decoded.get_object()) out[member.key()] = std::move(member.value());
  return out;
}

}  // namespace fairlead::controlplane
