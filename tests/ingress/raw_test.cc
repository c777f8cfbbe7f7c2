// Bytes in, what the client and the endpoint see: tests/ingress/raw/*.txt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress::testing {
namespace {

struct RawCase {
  std::string name, where, bytes;
  std::vector<int> statuses;  // of the answers, in order
  bool close = false;
  std::vector<std::string> contains, lacks;  // of what the endpoint got, all requests joined
  std::vector<std::string> client_contains;
  std::optional<size_t> upstream_requests;
};

// \r \n \t \0 \\ and \xHH; a{5000} repeats the character.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{' && !out.empty()) {
      const size_t end = text.find('}', i);
      const auto count =
          end == text.npos ? std::nullopt : parse_int(text.substr(i + 1, end - i - 1), 1, 1 << 20);
      if (count) {
        out.append(static_cast<size_t>(*count) - 1, out.back());
        i = end;
        continue;
      }
    }
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'x') {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      constexpr std::string_view from = "rnt0\\", to("\r\n\t\0\\", 5);
      const size_t at = from.find(c);
      out += at == from.npos ? c : to[at];
    }
  }
  return out;
}

std::vector<RawCase> read_cases(const std::filesystem::path& path) {
  std::vector<RawCase> cases;
  std::ifstream in(path);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line.starts_with('#')) continue;
    const size_t colon = line.find(": ");
    const std::string key = line.substr(0, colon);
    const std::string value = colon == line.npos ? "" : line.substr(colon + 2);
    if (key == "case") {
      cases.push_back({.name = value, .where = cat(path.filename().string(), ":", number)});
      continue;
    }
    RawCase& current = cases.back();
    if (key == "send") {
      current.bytes += unescape(value);
    } else if (key == "answer") {
      for (const std::string_view word : split(value, ' ')) {
        if (word == "close") {
          current.close = true;
        } else {
          current.statuses.push_back(static_cast<int>(*parse_int(word)));
        }
      }
    } else if (key == "endpoint-sees") {
      current.contains.push_back(unescape(value));
    } else if (key == "endpoint-lacks") {
      current.lacks.push_back(unescape(value));
    } else if (key == "client-sees") {
      current.client_contains.push_back(unescape(value));
    } else if (key == "endpoint-requests") {
      current.upstream_requests = static_cast<size_t>(*parse_int(value));
    } else {
      ADD_FAILURE() << path << ":" << number << ": unknown key " << key;
    }
  }
  return cases;
}

class RawFile : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  RawFile() {
    ingress_.cluster.service("web", {upstream_.address()});
    ingress_.cluster.ingress("web", "", "web");
    ingress_.publish_and_wait();
  }

  // `piece`: how many bytes at once; 0 for all.
  void run(const RawCase& test, size_t piece) {
    SCOPED_TRACE(cat(test.where, ": ", test.name, ", in pieces of ", piece));
    upstream_.clear();
    Client client(ingress_.http());
    if (piece == 0) {
      client.send(test.bytes);
    } else {
      for (size_t i = 0; i < test.bytes.size(); i += piece) {
        if (!client.send(std::string_view(test.bytes).substr(i, piece))) break;
      }
    }
    std::string seen;
    for (const int status : test.statuses) {
      const std::string response = client.read_response(test.bytes.starts_with("HEAD "));
      EXPECT_EQ(status_of(response), status) << response;
      seen += response;
    }
    if (test.close) {
      EXPECT_TRUE(client.closed()) << client.left();
    } else {
      client.send("GET /after HTTP/1.1\r\nHost: after\r\n\r\n");
      EXPECT_EQ(status_of(client.read_response()), 200) << "the connection did not stay usable";
    }
    check_upstream(test);
    for (const auto& text : test.client_contains) EXPECT_THAT(seen, ::testing::HasSubstr(text));
  }

  void check_upstream(const RawCase& test) {
    std::vector<std::string> requests = upstream_.requests();
    std::erase_if(requests, [](const auto& each) { return each.starts_with("GET /after "); });
    const std::string all = join(requests, "\n----\n");
    if (test.upstream_requests) {
      EXPECT_EQ(requests.size(), *test.upstream_requests) << all;
    }
    for (const auto& text : test.contains) EXPECT_THAT(all, ::testing::HasSubstr(text));
    for (const auto& text : test.lacks) {
      EXPECT_THAT(to_lower(all), ::testing::Not(::testing::HasSubstr(to_lower(text))));
    }
    // However the bytes were cut, no request of an attacker reached the endpoint.
    EXPECT_THAT(all, ::testing::Not(::testing::HasSubstr("/smuggled")));
  }

  RecordingUpstream upstream_;
  Ingress ingress_;
};

TEST_P(RawFile, answers_as_written) {
  const auto cases = read_cases(GetParam());
  EXPECT_GT(cases.size(), 0U);
  for (const RawCase& test : cases) {
    run(test, 0);
    if (test.bytes.size() < 1000) run(test, 1);
  }
}

std::vector<std::filesystem::path> raw_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(FAIRLEAD_SOURCE_DIR "/tests/ingress/raw")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Raw, RawFile, ::testing::ValuesIn(raw_files()),
                         [](const auto& param) { return param.param.stem().string(); });

}  // namespace
}  // namespace fairlead::ingress::testing
