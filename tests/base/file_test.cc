#include "base/file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace fairlead {
namespace {

class ReadFile : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-file-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(std::string_view text) {
    std::string path = folder_ + "/file";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string folder_;
};

TEST_F(ReadFile, GivesEveryByte) {
  const std::string large(100'000, 'x');
  for (const std::string& text :
       {std::string(), std::string("a\r\nb"), std::string("\0\xff", 2), large}) {
    const auto got = read_file(write(text));
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(*got, text);
  }
}

TEST_F(ReadFile, HasALimit) {
  EXPECT_TRUE(read_file(write("12345"), 5));
  const std::string path = write("123456");
  EXPECT_EQ(read_file(path, 5).error().message, path + ": larger than 5 bytes");
  EXPECT_EQ(read_file("/dev/zero", 1000).error().message, "/dev/zero: larger than 1000 bytes");
}

TEST_F(ReadFile, SaysWhyNot) {
  EXPECT_EQ(read_file(folder_).error().message, folder_ + ": cannot be read: Is a directory");
  const std::string absent = folder_ + "/absent";
  EXPECT_EQ(read_file(absent).error().message,
            absent + ": cannot be read: No such file or directory");
  EXPECT_EQ(read_file("").error().message, ": cannot be read: No such file or directory");
}

}  // namespace
}  // namespace fairlead
