// The access log where the file system does not play along.
#include "ingress/access_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "api/json.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress {
namespace {

namespace fs = std::filesystem;

class AccessLogFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-access-log-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  static std::string text_of(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string folder_;
};

TEST_F(AccessLogFiles, a_full_disk_is_counted_and_the_next_line_tried) {
  auto file = AccessLogFile::open("/dev/full");
  ASSERT_TRUE(file) << file.error().message;
  AccessLog log(file->get());
  for (uint64_t i = 1; i <= 3; ++i) {
    log.add({.status = 200});
    log.flush();
    EXPECT_EQ((*file)->failures(), i);
  }
}

TEST_F(AccessLogFiles, a_folder_that_is_gone_keeps_the_file_that_is_open) {
  fs::create_directory(folder_ + "/logs");
  auto file = AccessLogFile::open(folder_ + "/logs/access.log");
  ASSERT_TRUE(file);
  fs::rename(folder_ + "/logs", folder_ + "/moved");
  (*file)->reopen_if_moved();
  (*file)->write("one\n");
  EXPECT_EQ(text_of(folder_ + "/moved/access.log"), "one\n");
  EXPECT_EQ((*file)->failures(), 0U);
  fs::create_directory(folder_ + "/logs");
  (*file)->reopen_if_moved();
  (*file)->write("two\n");
  EXPECT_EQ(text_of(folder_ + "/logs/access.log"), "two\n");
}

TEST_F(AccessLogFiles, a_file_that_is_there_is_continued_and_not_for_everybody_to_read) {
  const std::string path = folder_ + "/access.log";
  for (const char* line : {"one\n", "two\n"}) {
    auto file = AccessLogFile::open(path);
    ASSERT_TRUE(file);
    (*file)->write(line);
  }
  EXPECT_EQ(text_of(path), "one\ntwo\n");
  EXPECT_EQ(fs::status(path).permissions() & fs::perms::others_all, fs::perms::none);
}

// Whatever bytes a client sends, a line is one JSON object with those bytes in it.
TEST_F(AccessLogFiles, every_byte_of_a_field_comes_back) {
  const std::string path = folder_ + "/access.log";
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  for (const size_t size : {2047U, 2048U, 2049U}) {
    fs::remove(path);
    auto file = AccessLogFile::open(path);
    ASSERT_TRUE(file);
    AccessLog log(file->get());
    const std::string referer(size, 'r');
    log.add({.user_agent = all, .referer = referer});
    log.flush();
    const std::string text = text_of(path);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    const auto line = parse_json(text);
    ASSERT_TRUE(line) << line.error().message;
    std::string as_utf8;  // U+0000 to U+00FF
    for (int c = 0; c < 128; ++c) as_utf8 += static_cast<char>(c);
    for (int c = 128; c < 256; ++c) {
      as_utf8 += static_cast<char>(0xc0 | c >> 6);
      as_utf8 += static_cast<char>(0x80 | (c & 0x3f));
    }
    EXPECT_EQ(find_string(*line, "user_agent"), as_utf8);
    EXPECT_EQ(find_string(*line, "referer").size(), std::min<size_t>(size, 2048));
  }
}

TEST_F(AccessLogFiles, lines_that_are_missing_are_in_the_status) {
  testing::RecordingUpstream upstream;
  testing::Ingress ingress;
  testing::serve(ingress, {upstream.address()});
  const std::string path = ingress.directory + "/access.log";
  fs::remove(path);
  fs::create_symlink("/dev/full", path);
  testing::Client client(ingress.http());
  std::vector<std::string> problems;
  for (int i = 0; i < 1000 && problems.empty(); ++i) {
    ASSERT_TRUE(client.send(testing::get("web.test")));
    EXPECT_EQ(testing::status_of(client.read_response()), 200) << "service goes on";
    problems = ingress.server->status().problems;
    usleep(10'000);
  }
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_TRUE(problems[0].starts_with(cat("access log ", path, ": lines are missing, ")));
}

// Without a file nothing is gathered, either.
TEST_F(AccessLogFiles, no_log_costs_nothing) {
  AccessLog log(nullptr);
  EXPECT_FALSE(log.enabled());
  for (int i = 0; i < 1000; ++i) log.add({.status = 200});
  log.maintain();
}

}  // namespace
}  // namespace fairlead::ingress
