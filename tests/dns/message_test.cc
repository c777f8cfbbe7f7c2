#include "dns/message.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "message_text.h"

namespace fairlead::dns {
namespace {

using namespace testing;
using namespace std::string_literals;

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

constexpr std::string_view header = "1234 0100 0001 0000 0000 0000 ";
constexpr std::string_view question = "01 61 00 0001 0001 ";  // "a." A IN

TEST(ParseRequest, WireTable) {
  struct Case {
    std::string_view what;
    std::string wire;
    Verdict verdict;
  };
  const auto with = [](std::string_view counts, std::string_view rest) {
    return cat("1234 0100 ", counts, ' ', rest);
  };
  const std::string opt = "00 0029 04d0 00000000 0000 ";
  const std::vector<Case> cases = {
      {"plain", cat(header, question), Verdict::ok},
      {"the root", cat(header, "00 0002 0001"), Verdict::ok},
      {"empty", "", Verdict::drop},
      {"eleven bytes", "1234 0100 0001 0000 0000 00", Verdict::drop},
      {"a response", cat("1234 8100 0001 0000 0000 0000 ", question), Verdict::drop},
      {"header only", std::string(header), Verdict::format_error},
      {"no question", with("0000 0000 0000 0000", ""), Verdict::format_error},
      {"two questions", with("0002 0000 0000 0000", cat(question, question)),
       Verdict::format_error},
      {"opcode IQUERY", cat("1234 0900 0001 0000 0000 0000 ", question), Verdict::not_implemented},
      {"opcode UPDATE", cat("1234 2800 0001 0000 0000 0000 ", question), Verdict::not_implemented},
      {"opcode NOTIFY", cat("1234 2000 0001 0000 0000 0000 ", question), Verdict::not_implemented},
      {"name without end", cat(header, "01 61"), Verdict::format_error},
      {"label past the end", cat(header, "05 61 00 0001 0001"), Verdict::format_error},
      {"no type", cat(header, "01 61 00"), Verdict::format_error},
      {"half a class", cat(header, "01 61 00 0001 00"), Verdict::format_error},
      {"pointer in the question", cat(header, "c00c 0001 0001"), Verdict::format_error},
      {"pointer to itself", cat(header, "01 61 c00e 0001 0001"), Verdict::format_error},
      {"label type 01", cat(header, "41 61 00 0001 0001"), Verdict::format_error},
      {"type OPT", cat(header, "01 61 00 0029 0001"), Verdict::format_error},
      {"a byte too many", cat(header, question, "00"), Verdict::format_error},
      {"an answer", with("0001 0001 0000 0000", cat(question, "c00c 0001 0001 00000000 0000")),
       Verdict::format_error},
      {"an authority record (IXFR has one)",
       with("0001 0000 0001 0000", cat(question, "c00c 0001 0001 00000000 0000")), Verdict::ok},
      {"a record promised", with("0001 0000 0001 0000", question), Verdict::format_error},
      {"record cut short", with("0001 0000 0001 0000", cat(question, "c00c 0001 0001 000000")),
       Verdict::format_error},
      {"rdata cut short",
       with("0001 0000 0001 0000", cat(question, "c00c 0001 0001 00000000 0004 010203")),
       Verdict::format_error},
      {"forward pointer",
       with("0001 0000 0001 0000", cat(question, "c013 0001 0001 00000000 0000")),
       Verdict::format_error},
      {"pointer into the header",
       with("0001 0000 0001 0000", cat(question, "c000 0001 0001 00000000 0000")),
       Verdict::format_error},
      {"EDNS", with("0001 0000 0000 0001", cat(question, opt)), Verdict::ok},
      {"EDNS version 1", with("0001 0000 0000 0001", cat(question, "00 0029 04d0 00010000 0000")),
       Verdict::bad_version},
      {"two OPT records", with("0001 0000 0000 0002", cat(question, opt, opt)),
       Verdict::format_error},
      {"OPT in the authority section", with("0001 0000 0001 0000", cat(question, opt)),
       Verdict::format_error},
      {"OPT with an owner", with("0001 0000 0000 0001", cat(question, "01 62 ", opt)),
       Verdict::format_error},
      {"OPT with options",
       with("0001 0000 0000 0001",
            cat(question, "00 0029 04d0 00000000 000c 000a 0008 0102030405060708")),
       Verdict::ok},
      {"an option cut short",
       with("0001 0000 0000 0001", cat(question, "00 0029 04d0 00000000 0005 000a 0008 01")),
       Verdict::format_error},
      {"half an option",
       with("0001 0000 0000 0001", cat(question, "00 0029 04d0 00000000 0002 000a")),
       Verdict::format_error},
  };
  for (const auto& c : cases) {
    const std::string wire = unhex(c.wire);
    Request request;
    EXPECT_EQ(static_cast<int>(parse_request(bytes_of(wire), request)), static_cast<int>(c.verdict))
        << c.what;
  }
}

TEST(ParseRequest, EveryPrefixAndEveryFlippedByteIsHandled) {
  const std::string whole = ask("_http._tcp.web.default.svc.cluster.local.", type::srv,
                                {.edns = true, .options = unhex("000a 0008 0102030405060708")});
  Request request;
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string part = whole.substr(0, size);  // so that reading past the end shows
    EXPECT_NE(static_cast<int>(parse_request(bytes_of(part), request)),
              static_cast<int>(Verdict::ok))
        << size;
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int flip : {0x01, 0x40, 0x80, 0xc0, 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      parse_request(bytes_of(changed), request);
      EXPECT_LE(request.question_end, changed.size());
    }
  }
}

TEST(ParseRequest, TellsWhatItRead) {
  const std::string wire = ask("WeB.example.", type::aaaa,
                               {.id = 7, .edns = true, .udp_bytes = 4096, .dnssec_ok = true});
  Request request;
  ASSERT_EQ(parse_request(bytes_of(wire), request), Verdict::ok);
  EXPECT_EQ(request.id, 7);
  EXPECT_EQ(request.type, type::aaaa);
  EXPECT_EQ(request.klass, klass::in);
  EXPECT_EQ(name_to_text(request.name.from(0)), "web.example.");
  EXPECT_TRUE(request.edns.present);
  EXPECT_TRUE(request.edns.dnssec_ok);
  EXPECT_EQ(request.edns.udp_bytes, 4096);
  EXPECT_EQ(request.question_end, 12u + 13 + 4);
}

TEST(ReplyLimit, FollowsTheClientWithinReason) {
  Request request;
  EXPECT_EQ(reply_limit(request, false), 512u);
  EXPECT_EQ(reply_limit(request, true), 65535u);
  request.edns.present = true;
  for (const auto& [asked, limit] : std::vector<std::pair<uint16_t, size_t>>{
           {0, 512}, {511, 512}, {512, 512}, {1000, 1000}, {1232, 1232}, {4096, 1232}}) {
    request.edns.udp_bytes = asked;
    EXPECT_EQ(reply_limit(request, false), limit) << asked;
  }
}

TEST(ReadName, FollowsPointersBackwardsOnly) {
  struct Case {
    std::string wire;  // after twelve header bytes
    size_t at;
    std::string_view name;  // "" = malformed
  };
  const std::vector<Case> cases = {
      {"01 61 00", 12, "a."},
      {"01 61 00 01 62 c00c", 15, "b.a."},
      {"01 61 00 c00c c00f", 17, "a."},
      {"c00c", 12, ""},
      {"01 61 c00c", 12, ""},     // a loop through the labels before it
      {"c00e c00c", 14, ""},      // two that point at each other
      {"c00e 01 61 00", 12, ""},  // forwards
      {"c000", 12, ""},           // the header
      {"01", 12, ""},
      {"c0", 12, ""},
      {"80 00", 12, ""},
  };
  for (const auto& c : cases) {
    const std::string message = std::string(12, '\0') + unhex(c.wire);
    std::string wire;
    const bool ok = read_name(bytes_of(message), c.at, wire);
    EXPECT_EQ(ok, !c.name.empty()) << c.wire;
    EXPECT_EQ(ok ? name_to_text(wire) : "", c.name);
  }
}

TEST(MessageView, MalformedRepliesAreErrors) {
  const std::string good = make_reply(ask("a.", type::a), 0, {"a. 60 A 1.2.3.4"});
  EXPECT_TRUE(MessageView::parse(bytes_of(good)));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(MessageView::parse(bytes_of(good.substr(0, size)))) << size;
  }
}

class Writer : public ::testing::Test {
 protected:
  void begin(size_t limit, const AskOptions& options = {}, std::string_view name = "a.example.") {
    wire_ = ask(name, type::a, options);
    ASSERT_EQ(parse_request(bytes_of(wire_), request_), Verdict::ok);
    writer_.begin(request_, buffer_.data(), limit);
  }
  std::string finish(uint8_t rcode = 0) {
    const size_t size = writer_.finish(rcode);
    return {reinterpret_cast<const char*>(buffer_.data()), size};
  }

  std::string wire_;
  Request request_;
  MessageWriter writer_;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(max_message_bytes);
};

TEST_F(Writer, WritesEveryKindOfRecord) {
  begin(1232);
  NameRef target = 0, last = 0;
  constexpr std::string_view empty;
  EXPECT_TRUE(writer_.address(Section::answer, question_name, 5, *Ip::parse("10.0.0.1")));
  EXPECT_TRUE(writer_.address(Section::answer, question_name, 5, *Ip::parse("fd00::1")));
  EXPECT_TRUE(writer_.target(Section::answer, question_name, type::cname, 6,
                             {.labels = "\1b", .suffix = question_name}, &target));
  EXPECT_TRUE(writer_.srv(target, 7, 50, 80, {.labels = "\1c"}, &last));
  EXPECT_TRUE(writer_.text(last, type::txt, 8, "1.1.0"));
  EXPECT_TRUE(writer_.text(question_name, type::hinfo, 8, "RFC8482", &empty));
  EXPECT_TRUE(writer_.raw(target, {}, type::a, 9, "\1\2\3\4"));
  EXPECT_TRUE(writer_.soa(Section::authority, question_name + 2, 30, 77, 60));
  EXPECT_TRUE(writer_.address(Section::additional, last, 5, *Ip::parse("10.0.0.2")));
  const Reply reply = read_reply(finish());
  EXPECT_EQ(reply.answer, (std::vector<std::string>{
                              "a.example. 5 A 10.0.0.1", "a.example. 5 AAAA fd00::1",
                              "a.example. 6 CNAME b.a.example.", "b.a.example. 7 SRV 0 50 80 c.",
                              "c. 8 TXT \"1.1.0\"", "a.example. 8 HINFO \"RFC8482\" \"\"",
                              "b.a.example. 9 A 1.2.3.4"}));
  EXPECT_EQ(reply.authority,
            (std::vector<std::string>{
                "example. 30 SOA ns.dns.example. hostmaster.example. 77 7200 1800 86400 60"}));
  EXPECT_EQ(reply.additional, (std::vector<std::string>{"c. 5 A 10.0.0.2"}));
  EXPECT_EQ(reply.question, "a.example. A");
  EXPECT_FALSE(reply.edns);
}

TEST_F(Writer, OwnerNamesAreCompressed) {
  begin(1232);
  const size_t before = writer_.size();
  writer_.address(Section::answer, question_name, 5, *Ip::parse("10.0.0.1"));
  EXPECT_EQ(writer_.size() - before, 16u);
}

TEST_F(Writer, WhatDoesNotFitSetsTruncatedButForAdditional) {
  begin(512);
  int written = 0;
  while (writer_.address(Section::answer, question_name, 5, *Ip::parse("10.0.0.1"))) ++written;
  EXPECT_EQ(written, (512 - 27) / 16);
  EXPECT_TRUE(writer_.truncated());
  EXPECT_LE(finish().size(), 512u);

  begin(512);
  while (writer_.address(Section::additional, question_name, 5, *Ip::parse("10.0.0.1"))) {
  }
  EXPECT_FALSE(writer_.truncated());
  EXPECT_LE(finish().size(), 512u);
}

TEST_F(Writer, RoomForOptIsKept) {
  begin(512, {.edns = true, .udp_bytes = 512, .dnssec_ok = true});
  while (writer_.address(Section::answer, question_name, 5, *Ip::parse("10.0.0.1"))) {
  }
  const std::string wire = finish(rcode::bad_vers);
  EXPECT_LE(wire.size(), 512u);
  const Reply reply = read_reply(wire);
  EXPECT_TRUE(reply.edns);
  EXPECT_TRUE(reply.dnssec_ok);
  EXPECT_EQ(reply.edns_bytes, max_udp_bytes);
  EXPECT_EQ(reply.rcode, "BADVERS");
}

TEST_F(Writer, OwnersBeyondTheReachOfPointersAreWrittenOut) {
  begin(max_message_bytes);
  const std::string labels = "\12abcdefghij\12abcdefghij";
  NameRef target = 0;
  size_t count = 0;
  while (writer_.size() < 0x4100) {
    ASSERT_TRUE(
        writer_.srv(question_name, 5, 1, 80, {.labels = labels, .suffix = question_name}, &target));
    ++count;
  }
  ASSERT_GT(target, 0x3fff);
  ASSERT_TRUE(writer_.address(Section::additional, target, 5, *Ip::parse("10.0.0.1")));
  const Reply reply = read_reply(finish());
  EXPECT_EQ(reply.answer.size(), count);
  EXPECT_EQ(reply.additional[0], "abcdefghij.abcdefghij.a.example. 5 A 10.0.0.1");
}

TEST_F(Writer, TargetsLongerThanNamesMayBeAreLeftOut) {
  std::string name;
  for (int i = 0; i < 24; ++i) name += "abcdefghi.";  // 241 bytes on the wire
  begin(1232, {}, name);
  NameRef target = 0;
  EXPECT_FALSE(writer_.srv(question_name, 5, 1, 80,
                           {.labels = "\17abcdefghijklmno", .suffix = question_name}, &target));
  EXPECT_FALSE(writer_.truncated());
  EXPECT_TRUE(read_reply(finish()).answer.empty());
}

}  // namespace
}  // namespace fairlead::dns
