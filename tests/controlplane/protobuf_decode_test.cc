// Protobuf bodies: what kubectl 1.32 sends (protobuf/*.bin, as it came over the wire, beside the
// document it stands for), what an encoder here makes of documents.txt, and what is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "controlplane/objects/json_values.h"
#include "controlplane/objects/protobuf.h"
#include "controlplane/objects/protobuf_tables.h"
#include "tests/text_cases.h"

namespace fairlead::controlplane {
namespace {

const std::string kFolder = FAIRLEAD_SOURCE_DIR "/tests/controlplane/protobuf/";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// A protobuf writer as gogo's: every field of the document, zero or not.
class Encoder {
 public:
  std::string varint(uint64_t value) {
    std::string out;
    for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
    return out + static_cast<char>(value);
  }
  std::string number(uint32_t field, int64_t value) {
    return varint(field << 3) + varint(static_cast<uint64_t>(value));
  }
  std::string bytes(uint32_t field, std::string_view value) {
    return varint(field << 3 | 2) + varint(value.size()) + std::string(value);
  }
  std::string envelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
    return std::string("k8s\0", 4) + bytes(1, bytes(1, api_version) + bytes(2, kind)) +
           bytes(2, raw) + bytes(3, "") + bytes(4, "");
  }
  std::string document(const json::value& document) {
    const auto* type =
        tables_.find_kind(find_string(document, "apiVersion"), find_string(document, "kind"));
    if (type == nullptr) return {};
    return envelope(find_string(document, "apiVersion"), find_string(document, "kind"),
                    message(*type, document));
  }

  std::string message(const ProtobufMessage& type, const json::value& value) {
    if (value.is_null()) return {};
    switch (type.form) {
      case MessageForm::time:
      case MessageForm::micro_time:
        return time(view(value.get_string()));
      case MessageForm::quantity:
        return bytes(1, view(value.get_string()));
      case MessageForm::int_or_string:
        if (value.is_string())
          return number(1, 1) + number(2, 0) + bytes(3, view(value.get_string()));
        return number(1, 0) + number(2, value.get_int64()) + bytes(3, "");
      case MessageForm::raw_json:
        return bytes(1, json::serialize(value));
      case MessageForm::list:
        return object(type, json::object{{"items", value}});
      case MessageForm::object:
        break;
    }
    return object(type, value);
  }

 private:
  std::string time(std::string_view text) {
    std::tm parts{};
    strptime(std::string(text.substr(0, 19)).c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    int64_t nanos = 0;
    if (text.size() > 20) nanos = *parse_int(text.substr(20, 6)) * 1000;
    return number(1, timegm(&parts)) + number(2, nanos);
  }

  std::string object(const ProtobufMessage& type, const json::value& value) {
    std::string out;
    for (const ProtobufField& field : type.fields) {
      if (field.inlined) {
        out += bytes(field.number, message(*tables_.find(field.message), value));
        continue;
      }
      const json::value* member = find(value, field.name);
      if (member == nullptr) continue;
      if (field.map) {
        for (const auto& entry : member->get_object())
          out += bytes(field.number, bytes(1, view(entry.key())) + one(field, 2, entry.value()));
      } else if (field.repeated) {
        for (const json::value& item : member->get_array()) out += one(field, field.number, item);
      } else {
        out += one(field, field.number, *member);
      }
    }
    return out;
  }

  std::string one(const ProtobufField& field, uint32_t at, const json::value& value) {
    switch (field.kind) {
      case WireKind::integer32:
      case WireKind::integer64:
        return number(at, value.get_int64());
      case WireKind::boolean:
        return number(at, value.get_bool());
      case WireKind::string:
        return bytes(at, view(value.get_string()));
      case WireKind::bytes:
        return bytes(at, *base64_decode(view(value.get_string())));
      case WireKind::message:
        break;
    }
    return bytes(at, message(*tables_.find(field.message), value));
  }

  ProtobufTables tables_;
};

class Captured : public testing::TestWithParam<std::string> {};

TEST_P(Captured, DecodesToItsDocument) {
  const auto got = ProtobufDecoder().decode(read_file(kFolder + GetParam() + ".bin"));
  ASSERT_TRUE(got.has_value()) << got.error().message;
  const auto want = parse_json(read_file(kFolder + GetParam() + ".json"));
  ASSERT_TRUE(want.has_value()) << json::serialize(*got);
  EXPECT_TRUE(same_value(*got, *want)) << "got " << json::serialize(*got);
}

std::vector<std::string> captured() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".bin") names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}
INSTANTIATE_TEST_SUITE_P(Kubectl, Captured, testing::ValuesIn(captured()),
                         [](const auto& one) { return one.param; });

class Documents : public testing::TestWithParam<TextCase> {};

TEST_P(Documents, SurviveTheRoundTrip) {
  const json::value document = GetParam().json("document");
  ASSERT_TRUE(document.is_object()) << json::serialize(document);
  const auto got = ProtobufDecoder().decode(Encoder().document(document));
  ASSERT_TRUE(got.has_value()) << got.error().message;
  const json::value want = GetParam().has("want") ? GetParam().json("want") : document;
  EXPECT_TRUE(same_value(*got, want))
      << "got  " << json::serialize(*got) << "\nwant " << json::serialize(want);
}
INSTANTIATE_TEST_SUITE_P(Table, Documents,
                         testing::ValuesIn(read_cases("controlplane/protobuf/documents.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

void expect_refused(std::string_view body, std::string_view why) {
  const auto got = ProtobufDecoder().decode(body);
  ASSERT_FALSE(got.has_value()) << json::serialize(*got);
  EXPECT_THAT(got.error().message, testing::HasSubstr(std::string(why)));
}

TEST(Refused, BodiesThatAreNoEnvelope) {
  Encoder e;
  expect_refused("", "does not begin");
  expect_refused("{\"kind\":\"Pod\"}", "does not begin");
  expect_refused(std::string("k8s\0", 4), "names no apiVersion");
  expect_refused(std::string("k8s\0\x0a\x7f", 6), "truncated");
  expect_refused(e.envelope("v1", "Nothing", ""), "no kind \"Nothing\" in \"v1\"");
  expect_refused(e.envelope("v9", "Pod", ""), "no kind \"Pod\" in \"v9\"");
  expect_refused(e.envelope("v1", "\xff", ""), "no kind \"?\"");
  expect_refused(e.envelope("v1", "Time", ""), "no kind \"Time\"");
  expect_refused(e.envelope("v1", "Pod", "") + e.bytes(3, "gzip"), "only plain protobuf");
  expect_refused(e.envelope("v1", "Pod", "") + e.bytes(4, "application/cbor"), "only plain");
}

TEST(Refused, EveryTruncationOfABody) {
  const std::string body = read_file(kFolder + "ingress.bin");
  for (size_t length = 0; length < body.size(); ++length)
    (void)ProtobufDecoder().decode(std::string_view(body).substr(0, length));  // no crash
  expect_refused(std::string_view(body).substr(0, 40), "truncated");
}

TEST(Refused, FieldsOfAWrongShape) {
  Encoder e;
  expect_refused(e.envelope("v1", "Pod", e.number(1, 7)), "field metadata has wire type 0");
  expect_refused(e.envelope("v1", "Pod", e.bytes(1, e.bytes(7, "x"))),
                 "generation has wire type 2");
  expect_refused(e.envelope("v1", "Pod", e.bytes(1, e.bytes(1, "\xc3\x28"))), "not valid UTF-8");
  expect_refused(e.envelope("v1", "Pod", e.bytes(1, e.bytes(11, e.bytes(1, "\x80")))), "no UTF-8");
  expect_refused(e.envelope("v1", "Pod", e.bytes(1, e.bytes(11, e.number(1, 1)))),
                 "bad entry in map");
  expect_refused(e.envelope("v1", "Pod", "\x0b"), "truncated or malformed");
  expect_refused(e.envelope("v1", "Pod", e.bytes(1, e.bytes(8, e.number(1, INT64_MAX)))),
                 "outside the years");
  expect_refused(e.envelope("apps/v1", "ControllerRevision", e.bytes(2, e.bytes(1, "{"))),
                 "RawExtension");
}

TEST(Refused, UnknownFieldsAreSkipped) {
  Encoder e;
  const auto got = ProtobufDecoder().decode(
      e.envelope("v1", "Pod", e.number(900, 5) + e.bytes(901, "x") + e.bytes(1, e.bytes(1, "p"))));
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(find_string(*got, "metadata", "name"), "p");
}

TEST(Refused, TooManyValues) {
  Encoder e;
  std::string endpoints;
  for (size_t i = 0; i < max_protobuf_values + 10; ++i) endpoints += std::string("\x12\x00", 2);
  expect_refused(e.envelope("discovery.k8s.io/v1", "EndpointSlice", endpoints), "more than");
}

TEST(Refused, TooManyBytes) {
  expect_refused(std::string(max_protobuf_bytes + 1, 'x'), "bytes, at most");
}

TEST(Accepted, PackedNumbers) {
  Encoder e;
  const std::string groups = e.varint(5) + e.varint(7);
  const std::string context = e.bytes(4, groups);  // PodSecurityContext.supplementalGroups
  const auto got =
      ProtobufDecoder().decode(e.envelope("v1", "Pod", e.bytes(2, e.bytes(14, context))));
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(json::serialize(*find(*got, "spec", "securityContext")),
            R"({"supplementalGroups":[5,7]})");
}

}  // namespace
}  // namespace fairlead::controlplane
