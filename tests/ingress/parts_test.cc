// The small parts by themselves: body framing, buffers, timers, heads, the log, the pool's choice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "ingress/access_log.h"
#include "ingress/body_framer.h"
#include "ingress/buffer.h"
#include "ingress/head_writer.h"
#include "ingress/request_metrics.h"
#include "ingress/server.h"
#include "ingress/timer_wheel.h"
#include "ingress/upstream.h"

namespace fairlead::ingress {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct ChunkCase {
  const char* name;
  std::string in, kept, stripped;
  bool done = true;
  bool failed = false;
  size_t left = 0;  // bytes behind the end
};

TEST(BodyFramer, chunked_table_in_every_cut) {
  const ChunkCase cases[] = {
      {"empty", "0\r\n\r\n", "0\r\n\r\n", ""},
      {"one", "3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
      {"extension", "3 ;a=\"b\"\r\nabc\r\n0;z\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"},
      {"trailers", "0\r\nA: b\r\nC: d\r\n\r\nGET", "0\r\n\r\n", "", true, false, 3},
      {"leading zeros", "0003\r\nabc\r\n000\r\n\r\n", "0003\r\nabc\r\n000\r\n\r\n", "abc"},
      {"unfinished", "3\r\nab", "3\r\nab", "ab", false},
      {"line feed", "3\nabc", "3", "", false, true},
      {"no digits", "\r\n", "", "", false, true},
      {"wrong end", "1\r\nab\r\n", "1\r\na", "a", false, true},
      {"sixteen digits", "0000000000000001\r\n", "000000000000000", "", false, true},
      {"control byte in extension", "1;\x01\r\n", "1", "", false, true},
      {"control byte in trailer", "0\r\nA\x7f: b\r\n\r\n", "0\r\n", "", false, true},
  };
  for (const ChunkCase& test : cases) {
    for (size_t piece = 1; piece <= test.in.size(); ++piece) {
      for (const auto chunks : {BodyFramer::Chunks::keep, BodyFramer::Chunks::strip}) {
        BodyFramer framer({.kind = BodyFraming::Kind::chunked}, chunks);
        std::string out;
        size_t used = 0;
        while (used < test.in.size() && !framer.done() && !framer.failed()) {
          std::string part = test.in.substr(used, piece);
          const auto step = framer.feed(part.data(), part.size(), part.data());
          used += step.consumed;
          out.append(part, 0, step.produced);
        }
        SCOPED_TRACE(cat(test.name, " in pieces of ", piece));
        EXPECT_EQ(out, chunks == BodyFramer::Chunks::keep ? test.kept : test.stripped);
        EXPECT_EQ(framer.done(), test.done);
        EXPECT_EQ(framer.failed(), test.failed);
        if (test.done) {
          EXPECT_EQ(test.in.size() - used, test.left);
        }
      }
    }
  }
}

TEST(BodyFramer, length_and_until_close) {
  char bytes[] = "hello world";
  BodyFramer none;
  EXPECT_TRUE(none.done());
  BodyFramer length({.kind = BodyFraming::Kind::length, .length = 5});
  EXPECT_EQ(length.feed(bytes, 3, bytes).consumed, 3U);
  EXPECT_FALSE(length.done());
  EXPECT_EQ(length.feed(bytes + 3, 8, bytes + 3).consumed, 2U);
  EXPECT_TRUE(length.done());
  BodyFramer open({.kind = BodyFraming::Kind::until_close});
  EXPECT_EQ(open.feed(bytes, 11, bytes).produced, 11U);
  EXPECT_FALSE(open.done());
  open.finish();
  EXPECT_TRUE(open.done());
}

void fill(Buffer& buffer, std::string_view text) {
  ASSERT_GE(buffer.space().size(), text.size());
  text.copy(buffer.space().data(), text.size());
  buffer.filled(text.size());
}

TEST(Buffer, keeps_a_head_streams_a_body_and_moves_the_rest_forward) {
  SlabPool pool;
  Buffer buffer(pool);
  fill(buffer, "HEADbodyNEXT");
  const std::string_view head = buffer.raw().substr(0, 4);
  buffer.pin(4);
  BodyFramer framer({.kind = BodyFraming::Kind::length, .length = 4});
  buffer.frame(framer);
  EXPECT_EQ(buffer.ready(), "body");
  EXPECT_EQ(buffer.raw(), "NEXT");
  buffer.sent(2);
  EXPECT_EQ(buffer.ready(), "dy");
  EXPECT_TRUE(buffer.rewind());
  EXPECT_EQ(buffer.ready(), "body");
  buffer.sent(4);
  EXPECT_EQ(head, "HEAD");
  buffer.next_message();
  EXPECT_EQ(buffer.raw(), "NEXT");
  EXPECT_EQ(pool.in_use(), 1U);
  buffer.skip(4);
  buffer.next_message();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(Buffer, starts_over_when_it_is_full_and_can_then_not_be_rewound) {
  SlabPool pool;
  Buffer buffer(pool);
  fill(buffer, "HEAD");
  buffer.pin(4);
  BodyFramer open({.kind = BodyFraming::Kind::until_close});
  buffer.filled(buffer.space().size());
  EXPECT_TRUE(buffer.full());
  buffer.frame(open);
  EXPECT_EQ(buffer.ready().size(), slab_bytes - 4);
  buffer.sent(buffer.ready().size());
  EXPECT_FALSE(buffer.full());
  EXPECT_EQ(buffer.space().size(), slab_bytes - 4);
  EXPECT_FALSE(buffer.rewind());
}

struct Alarm final : Deadline {
  int fired = 0;
  std::function<void()> also;
  void on_deadline() override {
    ++fired;
    if (also) also();
  }
};

TEST(TimerWheel, fires_late_by_at_most_a_tick_and_never_early) {
  const MonoTime start{};
  for (const auto after : {milliseconds(1), milliseconds(100), milliseconds(550),
                           milliseconds(75'000), milliseconds(102'400), milliseconds(3'600'000)}) {
    TimerWheel wheel(start);
    Alarm alarm;
    wheel.set(alarm, start + after);
    wheel.advance(start + after - milliseconds(1));
    EXPECT_EQ(alarm.fired, 0) << after.count();
    wheel.advance(start + after + TimerWheel::tick);
    EXPECT_EQ(alarm.fired, 1) << after.count();
  }
}

TEST(TimerWheel, moves_cancels_and_survives_its_members) {
  const MonoTime start{};
  TimerWheel wheel(start);
  Alarm later, sooner, cancelled;
  wheel.set(later, start + seconds(1));
  wheel.set(later, start + seconds(10));  // lazily
  wheel.set(sooner, start + seconds(10));
  wheel.set(sooner, start + seconds(1));
  wheel.set(cancelled, start + seconds(1));
  wheel.cancel(cancelled);
  {
    Alarm gone;
    wheel.set(gone, start + seconds(1));
  }
  for (int i = 0; i <= 50; ++i) wheel.advance(start + milliseconds(100) * i);
  EXPECT_EQ(sooner.fired, 1);
  EXPECT_EQ(later.fired, 0);
  EXPECT_EQ(cancelled.fired, 0);
  wheel.advance(start + seconds(100'000));  // a sleep of a day
  EXPECT_EQ(later.fired, 1);
}

TEST(TimerWheel, callbacks_may_set_and_cancel_others) {
  const MonoTime start{};
  TimerWheel wheel(start);
  Alarm a, b, c;
  wheel.set(a, start + milliseconds(100));
  wheel.set(b, start + milliseconds(100));
  a.also = [&] {
    wheel.cancel(b);
    wheel.set(c, start + milliseconds(200));
  };
  b.also = [&] { wheel.cancel(a); };
  wheel.advance(start + milliseconds(150));
  EXPECT_EQ(a.fired + b.fired, 1);
  wheel.advance(start + milliseconds(350));
  EXPECT_EQ(c.fired, a.fired);
}

TEST(TimerWheel, a_deadline_set_after_a_long_pause_is_on_time) {
  const MonoTime start{};
  TimerWheel wheel(start);
  Alarm alarm;
  wheel.set(alarm, start + seconds(5010));
  for (int i = 0; i < 100; ++i) wheel.advance(start + seconds(5000) + milliseconds(100) * i);
  EXPECT_EQ(alarm.fired, 0);
  for (int i = 100; i < 103; ++i) wheel.advance(start + seconds(5000) + milliseconds(100) * i);
  EXPECT_EQ(alarm.fired, 1);
}

TEST(EndpointPicker, takes_turns_and_asks_bad_ones_last) {
  Registry registry;
  net::EventLoop loop;
  TimerWheel wheel(loop.now());
  RequestMetrics metrics(registry);
  const Limits limits;
  UpstreamPool pool(loop, wheel, metrics, limits);
  EndpointPicker picker;
  const std::vector<SocketAddress> endpoints = {{Ip::v4(1), 80}, {Ip::v4(2), 80}, {Ip::v4(3), 80}};
  std::map<SocketAddress, int> counts;
  for (int i = 0; i < 300; ++i) ++counts[*picker.pick(7, endpoints, {}, pool, 12345)];
  for (const auto& endpoint : endpoints) EXPECT_EQ(counts[endpoint], 100);
  pool.mark_bad(endpoints[1]);
  for (int i = 0; i < 10; ++i) {
    EXPECT_NE(*picker.pick(7, endpoints, {}, pool, 1), endpoints[1]);
  }
  const SocketAddress tried[] = {endpoints[0], endpoints[2]};
  EXPECT_EQ(*picker.pick(7, endpoints, tried, pool, 1), endpoints[1]);
  EXPECT_EQ(picker.pick(7, endpoints, endpoints, pool, 1), nullptr);
  EXPECT_EQ(picker.pick(9, {}, {}, pool, 1), nullptr);
}

TEST(RealClient, is_the_rightmost_address_that_is_not_trusted) {
  const std::vector<Cidr> trusted = {*Cidr::parse("10.0.0.0/8")};
  const auto chain = [&](std::vector<std::string_view> lines) {
    std::vector<Field> fields;
    for (const auto line : lines) fields.push_back({FieldId::x_forwarded_for, "X", line});
    return std::string(real_client(fields, trusted));
  };
  EXPECT_EQ(chain({}), "");
  EXPECT_EQ(chain({"192.0.2.1"}), "192.0.2.1");
  EXPECT_EQ(chain({"6.6.6.6, 192.0.2.1, 10.0.0.1"}), "192.0.2.1");
  EXPECT_EQ(chain({"192.0.2.1", "10.0.0.1,10.0.0.2"}), "192.0.2.1");
  EXPECT_EQ(chain({"10.0.0.9, 10.0.0.1"}), "10.0.0.9");
  EXPECT_EQ(chain({"192.0.2.1, garbage, 10.0.0.1"}), "10.0.0.1");
  EXPECT_EQ(chain({"garbage"}), "");
}

TEST(AccessLog, lines_are_json_and_follow_a_renamed_file) {
  char pattern[] = "/tmp/fairlead-log-XXXXXX";
  const std::string directory = ::mkdtemp(pattern);
  const std::string path = directory + "/access.log";
  auto file = AccessLogFile::open(path);
  ASSERT_TRUE(file);
  AccessLog log(file->get());
  log.add({.time = WallTime(milliseconds(1'700'000'000'042)),
           .duration = milliseconds(3),
           .client = "192.0.2.1",
           .method = "GET",
           .target = "/\x01\"",
           .status = 200,
           .bytes_sent = 12});
  log.flush();
  std::filesystem::rename(path, path + ".1");
  log.add({.target = std::string(100'000, 'x'), .status = 404});
  log.maintain();
  log.add({.status = 500});
  log.flush();
  const auto read = [](const std::string& name) {
    std::ifstream in(name);
    return std::string((std::istreambuf_iterator<char>(in)), {});
  };
  const std::string old = read(path + ".1");
  EXPECT_THAT(old, ::testing::StartsWith(
                       "{\"time\":\"2023-11-14T22:13:20.042Z\",\"client\":\"192.0.2.1\","
                       "\"method\":\"GET\",\"target\":\"/\\u0001\\\"\",\"protocol\":\"HTTP/1.1\","
                       "\"status\":200,\"bytes_sent\":12,\"bytes_received\":0,"
                       "\"duration_us\":3000}\n"));
  EXPECT_LT(old.size(), 3000U);
  EXPECT_THAT(read(path), HasSubstr("\"status\":500"));
  EXPECT_FALSE(AccessLogFile::open(directory + "/no/such/folder"));
  std::filesystem::remove_all(directory);
}

TEST(Server, wrong_configuration_is_an_error_that_names_the_field) {
  MemoryLogSink sink;
  const Log log(sink);
  Registry registry;
  const auto error = [&](const std::function<void(Config&)>& change) {
    Config config;
    config.http = {{*Ip::parse("127.0.0.1"), 0}};
    config.https.clear();
    change(config);
    auto server = Server::create(config, log, registry);
    if (!server) return server.error().message;
    const auto started = (*server)->start();
    return started ? std::string("none") : started.error().message;
  };
  EXPECT_EQ(error([](Config&) {}), "none");
  EXPECT_THAT(error([](Config& c) { c.limits.header_bytes = 1'000'000; }),
              HasSubstr("header_bytes"));
  EXPECT_THAT(error([](Config& c) { c.limits.target_bytes = 40'000; }), HasSubstr("target_bytes"));
  EXPECT_THAT(error([](Config& c) { c.limits.tries = 0; }), HasSubstr("limits.tries: 0 is not in"));
  EXPECT_THAT(error([](Config& c) { c.http.clear(); }), HasSubstr("neither an http nor"));
  EXPECT_THAT(error([](Config& c) { c.workers = 5000; }), HasSubstr("workers"));
  EXPECT_THAT(error([](Config& c) { c.access_log = "/no/such/folder/x"; }),
              HasSubstr("access log"));
  EXPECT_THAT(error([](Config& c) { c.http = {{*Ip::parse("192.0.2.1"), 80}}; }),
              HasSubstr("ingress: http 192.0.2.1:80: "));
}

}  // namespace
}  // namespace fairlead::ingress
