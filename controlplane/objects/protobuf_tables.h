// Field numbers, names and types of the messages that clients may send, from the tables of
// api/data. Internal to the decoder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/json.h"

namespace fairlead::controlplane {

enum class WireKind { integer32, integer64, boolean, string, bytes, message };

struct ProtobufField {
  uint32_t number = 0;
  std::string name;  // in JSON
  WireKind kind = WireKind::message;
  std::string message;  // type of a message, or of a map's message values
  bool repeated = false;
  bool map = false;
  bool pointer = false;  // a zero value was set on purpose: keep it
  bool inlined = false;  // its members belong to the enclosing JSON object
};

// What a message means in JSON.
enum class MessageForm { object, list, time, micro_time, quantity, int_or_string, raw_json };

struct ProtobufMessage {
  std::string name;
  MessageForm form = MessageForm::object;
  std::vector<ProtobufField> fields;  // ordered by number

  const ProtobufField* find(uint32_t number) const;
};

// A message is parsed when it is first asked for. Belongs to one thread.
class ProtobufTables {
 public:
  ProtobufTables();

  const ProtobufMessage* find(std::string_view full_name);  // nullptr when unknown
  // The message of a kind; nullptr when unknown.
  const ProtobufMessage* find_kind(std::string_view api_version, std::string_view kind);

 private:
  std::unordered_map<std::string_view, std::string_view> texts_;  // into the embedded file
  json::object pointers_;  // "core/v1.ServiceSpec": ["ipFamilyPolicy", ...]
  json::object inlined_;   // "core/v1.Volume": [["VolumeSource", 2, "volumeSource"]]
  std::map<std::string, std::unique_ptr<ProtobufMessage>, std::less<>> parsed_;
};

}  // namespace fairlead::controlplane
