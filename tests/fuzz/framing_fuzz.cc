// Any bytes as a request head and body, and as a response: whatever passes the guard keeps the
// rules that smuggling breaks, and the body comes out the same however the bytes were cut.
#include <cstdint>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/text.h"
#include "ingress/body_framer.h"
#include "ingress/framing_guard.h"
#include "ingress/head_parser.h"
#include "ingress/head_writer.h"

namespace {

using namespace fairlead;           // NOLINT: a fuzz target is one file
using namespace fairlead::ingress;  // NOLINT

struct Outcome {
  std::string body;
  size_t consumed = 0;
  bool done = false, failed = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome run_body(BodyFramer framer, std::string_view bytes, size_t piece) {
  Outcome outcome;
  while (outcome.consumed < bytes.size() && !framer.done() && !framer.failed()) {
    std::string part(bytes.substr(outcome.consumed, piece));
    const auto step = framer.feed(part.data(), part.size(), part.data());  // in place
    CHECK(step.produced <= step.consumed && step.consumed <= part.size());
    outcome.consumed += step.consumed;
    outcome.body.append(part, 0, step.produced);
  }
  outcome.done = framer.done();
  outcome.failed = framer.failed();
  return outcome;
}

// Scans in pieces, as bytes would arrive. 0: no complete head.
size_t scan(std::string_view bytes, size_t piece, const Limits& limits = {}) {
  HeadScanner scanner;
  for (size_t have = std::min(piece, bytes.size());; have = std::min(have + piece, bytes.size())) {
    const auto result = scanner.scan(bytes.substr(0, have), limits);
    if (result == HeadScanner::Result::complete) return scanner.head_bytes();
    if (result == HeadScanner::Result::refused || have == bytes.size()) return 0;
  }
}

// A head that just keeps the limits may pass them with the fields that are added.
const Limits grown{.header_bytes = 48 * 1024, .header_count = 120};

void check_body(const BodyFraming& framing, std::string_view bytes) {
  for (const auto chunks : {BodyFramer::Chunks::keep, BodyFramer::Chunks::strip}) {
    const Outcome whole = run_body(BodyFramer(framing, chunks), bytes, bytes.size() + 1);
    CHECK(whole == run_body(BodyFramer(framing, chunks), bytes, 1));
    CHECK(whole == run_body(BodyFramer(framing, chunks), bytes, 7));
    if (chunks == BodyFramer::Chunks::strip || !whole.done) continue;
    // What is sent on reads back as the same.
    const Outcome again = run_body(BodyFramer(framing, chunks), whole.body, whole.body.size() + 1);
    CHECK(again.done && again.body == whole.body && again.consumed == whole.body.size());
  }
}

void check_request_bytes(std::string_view bytes) {
  const size_t size = scan(bytes, bytes.size());
  CHECK(size == scan(bytes, 1));
  RequestHead head;
  RequestFacts facts;
  if (size == 0 || parse_request_head(bytes.substr(0, size), head)) return;
  if (check_request(head, facts)) return;
  CHECK(facts.target.starts_with('/') || facts.target == "*");
  const ClientFacts client{.address = "192.0.2.1", .real = "192.0.2.1", .request_id = "id"};
  std::string out(size + head_growth_bytes, 0);
  out.resize(write_request_head(head, facts, client, out));

  // The head that goes to the endpoint passes the same guard and means the same.
  RequestHead second;
  RequestFacts second_facts;
  CHECK(scan(out, out.size(), grown) == out.size());
  CHECK(!parse_request_head(out, second) && !check_request(second, second_facts));
  CHECK(second_facts.body == facts.body && second_facts.target == facts.target);
  CHECK(second_facts.authority == facts.authority && second.method == head.method);
  for (const Field& field : second.fields) {
    CHECK(field.name.find('_') == std::string_view::npos || field.id != FieldId::other);
    CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  }
  check_body(facts.body, bytes.substr(size));
}

void check_response_bytes(std::string_view bytes) {
  const size_t size = scan(bytes, bytes.size());
  ResponseHead head;
  if (size == 0 || parse_response_head(bytes.substr(0, size), head)) return;
  for (const bool answers_head : {false, true}) {
    ResponseFacts facts;
    if (check_response(head, answers_head, facts)) continue;
    const ResponseStyle style{.date = "Thu, 01 Jan 2026 00:00:00 GMT",
                              .chunked = facts.body.kind == BodyFraming::Kind::chunked};
    std::string out(size + head_growth_bytes, 0);
    out.resize(write_response_head(head, facts, style, out));
    ResponseHead second;
    ResponseFacts second_facts;
    CHECK(scan(out, out.size(), grown) == out.size());
    CHECK(!parse_response_head(out, second));
    CHECK(!check_response(second, answers_head, second_facts));
    CHECK(second_facts.body == facts.body && second.status == head.status);
    check_body(facts.body, bytes.substr(size));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_request_bytes(bytes);
  check_response_bytes(bytes);
  check_body({.kind = BodyFraming::Kind::chunked}, bytes);
  return 0;
}
