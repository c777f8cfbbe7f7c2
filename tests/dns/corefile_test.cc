#include "dns/corefile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "dns/corefile_zone.h"

namespace fairlead::dns {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> key_texts(const ServerBlock& block) {
  std::vector<std::string> out;
  for (const auto& key : block.keys) out.push_back(cat(key.name, ':', key.port));
  return out;
}

Corefile parse(std::string_view text) {
  auto corefile = parse_corefile(text, "Corefile");
  EXPECT_TRUE(corefile) << corefile.error().message << "\n" << text;
  return corefile ? *corefile : Corefile{};
}

TEST(Corefile, KeysOfServerBlocks) {
  struct Case {
    std::string_view text;
    std::vector<std::string> keys;  // of all blocks
  };
  const std::vector<Case> cases = {
      {".", {".:53"}},
      {". {\n}\n", {".:53"}},
      {".:1053 {\n}\n", {".:1053"}},
      {"dns://.:53 {\n}", {".:53"}},
      {"dns://Example.ORG {\n}", {"example.org.:53"}},
      {"example.org. Other.net:54 {\n}", {"example.org.:53", "other.net.:54"}},
      {"a.org,\nb.org, c.org {\n}", {"a.org.:53", "b.org.:53", "c.org.:53"}},
      {":5353 {\n}", {".:5353"}},
      {"10.0.0.0/8 {\n}", {"10.in-addr.arpa.:53"}},
      {"10.0.0.0/24:54 {\n}", {"0.0.10.in-addr.arpa.:54"}},
      {"10.2.0.0/15 {\n}", {"2.10.in-addr.arpa.:53", "3.10.in-addr.arpa.:53"}},
      {"10.1.2.3/32 {\n}", {"3.2.1.10.in-addr.arpa.:53"}},
      {"0.0.0.0/0 {\n}", {"in-addr.arpa.:53"}},
      {"2001:db8::/32 {\n}", {"8.b.d.0.1.0.0.2.ip6.arpa.:53"}},
      {"fd00::/7 {\n}", {"c.f.ip6.arpa.:53", "d.f.ip6.arpa.:53"}},
      {"a.org {\n}\nb.org {\n}\n", {"a.org.:53", "b.org.:53"}},
      {"a.org { # comment { }\n}#x\n", {"a.org.:53"}},
      {"# only\n\n\r\na.org\r\n", {"a.org.:53"}},
      {"\"a.org\" {\n}", {"a.org.:53"}},
      {"a.org:53 a.org:54 {\n}", {"a.org.:53", "a.org.:54"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<std::string> keys;
    for (const auto& block : parse(c.text).blocks) {
      for (auto& key : key_texts(block)) keys.push_back(std::move(key));
    }
    EXPECT_EQ(keys, c.keys);
  }
}

TEST(Corefile, EveryPluginAndOption) {
  const Corefile corefile = parse(R"(cluster.local:1053 {
    errors
    log example.org "{name} {rcode}" {
        class denial error
    }
    log
    health :9080 {
        lameduck 5s
    }
    ready 127.0.0.1:9181
    prometheus localhost:9999
    kubernetes {
        namespaces a B
        pods verified
        endpoint_pod_names
        ttl 30
        noendpoints
        ignore empty_service
        fallthrough example.org 10.0.0.0/8
    }
    forward example.org 192.0.2.1 192.0.2.2:5300 [2001:db8::1]:54 2001:db8::2 dns://192.0.2.3 {
        except internal.example.org
        force_tcp
        prefer_udp
        max_fails 3
        max_concurrent 100
        policy round_robin
    }
    forward . 192.0.2.9
})");
  ASSERT_EQ(corefile.blocks.size(), 1u);
  const ServerBlock& block = corefile.blocks[0];
  EXPECT_TRUE(block.errors);
  ASSERT_EQ(block.logs.size(), 2u);
  EXPECT_EQ(block.logs[0].zone, "example.org.");
  EXPECT_EQ(block.logs[0].format, "{name} {rcode}");
  EXPECT_FALSE(block.logs[0].success);
  EXPECT_TRUE(block.logs[0].denial);
  EXPECT_TRUE(block.logs[0].error);
  EXPECT_EQ(block.logs[1].zone, ".");
  EXPECT_TRUE(block.logs[1].success);
  EXPECT_EQ(block.health->address.to_string(), "[::]:9080");
  EXPECT_EQ(block.health->lameduck_ms, 5000u);
  EXPECT_EQ(block.ready->address.to_string(), "127.0.0.1:9181");
  EXPECT_EQ(block.prometheus->address.to_string(), "127.0.0.1:9999");
  const KubernetesConfig& kubernetes = *block.kubernetes;
  EXPECT_THAT(kubernetes.zones, ElementsAre("cluster.local."));
  EXPECT_THAT(kubernetes.namespaces, ElementsAre("a", "b"));
  EXPECT_EQ(kubernetes.pods, PodMode::verified);
  EXPECT_TRUE(kubernetes.endpoint_pod_names);
  EXPECT_FALSE(kubernetes.endpoints);
  EXPECT_TRUE(kubernetes.ignore_empty_service);
  EXPECT_EQ(kubernetes.ttl_s, 30u);
  EXPECT_TRUE(kubernetes.fallthrough);
  EXPECT_THAT(kubernetes.fallthrough_zones, ElementsAre("example.org.", "10.in-addr.arpa."));
  ASSERT_EQ(block.forwards.size(), 2u);
  const ForwardConfig& forward = block.forwards[0];
  EXPECT_EQ(forward.from, "example.org.");
  std::vector<std::string> upstreams;
  for (const auto& upstream : forward.upstreams) upstreams.push_back(upstream.to_string());
  EXPECT_THAT(upstreams, ElementsAre("192.0.2.1:53", "192.0.2.2:5300", "[2001:db8::1]:54",
                                     "[2001:db8::2]:53", "192.0.2.3:53"));
  EXPECT_THAT(forward.except, ElementsAre("internal.example.org."));
  EXPECT_TRUE(forward.force_tcp);
  EXPECT_TRUE(forward.prefer_udp);
  EXPECT_EQ(forward.max_fails, 3u);
  EXPECT_EQ(forward.max_concurrent, 100u);
  EXPECT_EQ(forward.policy, ForwardConfig::Policy::round_robin);
  EXPECT_EQ(forward.at.to_string(), "Corefile:21");
}

TEST(Corefile, Defaults) {
  const Corefile corefile = parse(". {\nhealth\nready\nprometheus\nkubernetes x.y\n}");
  const ServerBlock& block = corefile.blocks[0];
  EXPECT_EQ(block.health->address.to_string(), "[::]:8080");
  EXPECT_EQ(block.ready->address.to_string(), "[::]:8181");
  EXPECT_EQ(block.prometheus->address.to_string(), "127.0.0.1:9153");
  EXPECT_EQ(block.kubernetes->ttl_s, 5u);
  EXPECT_EQ(block.kubernetes->pods, PodMode::disabled);
  EXPECT_TRUE(block.kubernetes->endpoints);
  EXPECT_FALSE(block.kubernetes->fallthrough);
  EXPECT_FALSE(block.errors);
}

TEST(Corefile, ErrorsNameTheLineAndWhatWasExpected) {
  struct Case {
    std::string_view text, error;
  };
  const std::vector<Case> cases = {
      {"", "Corefile:1: no server block"},
      {"# nothing\n", "Corefile:1: no server block"},
      {". {\n  errors\n  kubernets x\n}",
       "Corefile:3: unknown plugin 'kubernets', expected one of ready, health, prometheus, errors, "
       "log, kubernetes, forward"},
      {". {\n  cache 30\n}", "Corefile:2: unknown plugin 'cache'"},
      {". {\n errors\n", "Corefile:1: server block is not closed, expected '}'"},
      {". {\n errors {\n}\n", "Corefile:1: server block is not closed"},
      {". {\n errors {\n", "Corefile:2: options of errors are not closed by '}'"},
      {"{\n}", "Corefile:1: unexpected '{', expected a zone"},
      {"}", "Corefile:1: unexpected '}'"},
      {"a.org, {\n}", "Corefile:1: unexpected '{'"},
      {"a.org,", "Corefile:1: expected another zone after ','"},
      {". {\n}\nerrors\n", "Corefile:3: server block without '{'"},
      {". {\n{\n}\n}", "Corefile:2: unexpected '{', expected a plugin"},
      {". {\n \"errors\n}", "Corefile:2: quote is not closed"},
      {"a..b {\n}", "Corefile:1: zone 'a..b' is not a domain name"},
      {"tls://. {\n}", "Corefile:1: transport 'tls' is not supported, expected dns"},
      {".:99999 {\n}", "Corefile:1: port of '.:99999' is not in 1..65535"},
      {".:0 {\n}", "port of '.:0' is not in 1..65535"},
      {"10.0.0.0/33 {\n}", "Corefile:1: zone '10.0.0.0/33' is not a CIDR block"},
      {". {\n}\n. {\n}", "Corefile:3: zone '.' at port 53 is already served by Corefile:1"},
      {". {\n errors\n\n errors\n}",
       "Corefile:4: plugin 'errors' is used twice in this server "
       "block, first in line 2"},
      {". {\n errors {\n  consolidate 5m .*\n }\n}",
       "Corefile:3: errors: unknown option 'consolidate', expected none"},
      {". {\n errors x\n}", "Corefile:2: errors: takes no argument"},
      {". {\n health a b\n}", "Corefile:2: health: expected at most one address"},
      {". {\n health nowhere\n}", "Corefile:2: health: 'nowhere' is not an address"},
      {". {\n health {\n  lameduck soon\n }\n}", "Corefile:3: health: option 'lameduck' needs"},
      {". {\n health {\n  x\n }\n}", "Corefile:3: health: unknown option 'x', expected lameduck"},
      {". {\n ready {\n  monitor x\n }\n}", "Corefile:3: ready: unknown option 'monitor'"},
      {". {\n prometheus {\n  x\n }\n}", "Corefile:3: prometheus: unknown option 'x'"},
      {". {\n kubernetes x {\n  endpoint http://x\n }\n}",
       "Corefile:3: kubernetes: unknown option 'endpoint', expected one of namespaces, pods"},
      {". {\n kubernetes x {\n  pods maybe\n }\n}",
       "Corefile:3: kubernetes: option 'pods' needs one of disabled, insecure, verified"},
      {". {\n kubernetes x {\n  pods\n }\n}", "Corefile:3: kubernetes: option 'pods' needs"},
      {". {\n kubernetes x {\n  ttl -1\n }\n}", "option 'ttl' needs one number in 0..3600"},
      {". {\n kubernetes x {\n  ttl 3601\n }\n}", "option 'ttl' needs one number in 0..3600"},
      {". {\n kubernetes x {\n  ttl 5 6\n }\n}", "option 'ttl' needs one number"},
      {". {\n kubernetes x {\n  noendpoints y\n }\n}", "option 'noendpoints' takes no argument"},
      {". {\n kubernetes x {\n  ignore y\n }\n}", "option 'ignore' needs empty_service"},
      {". {\n kubernetes x {\n  namespaces\n }\n}", "option 'namespaces' needs at least one name"},
      {". {\n kubernetes x {\n  fallthrough a..b\n }\n}", "Corefile:3: kubernetes: zone 'a..b'"},
      {". {\n kubernetes x {\n  ttl {\n }\n }\n}", "Corefile:3: block inside the options"},
      {". {\n kubernetes in-addr.arpa\n}", "Corefile:2: kubernetes: only reverse zones"},
      {". {\n forward .\n}", "Corefile:2: forward: expected FROM and at least one TO"},
      {". {\n forward . tls://192.0.2.1\n}", "Corefile:2: forward: transport of 'tls://192.0.2.1'"},
      {". {\n forward . /no/such/file\n}",
       "Corefile:2: forward: '/no/such/file' is neither an address nor a file"},
      {". {\n forward . 192.0.2.1 {\n  expire 10s\n }\n}",
       "Corefile:3: forward: unknown option 'expire', expected one of except, force_tcp"},
      {". {\n forward . 192.0.2.1 {\n  policy best\n }\n}",
       "Corefile:3: forward: option 'policy' needs one of random, round_robin, sequential"},
      {". {\n forward . 192.0.2.1 {\n  max_fails x\n }\n}", "option 'max_fails' needs one number"},
      {". {\n forward . 192.0.2.1 {\n  except\n }\n}", "option 'except' needs at least one name"},
      {". {\n forward . 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 "
       "1.1.1.10 1.1.1.11 1.1.1.12 1.1.1.13 1.1.1.14 1.1.1.15 1.1.1.16\n}",
       "Corefile:2: forward: 16 upstreams, expected at most 15"},
      {". {\n log . \"{bogus}\"\n}", "Corefile:2: log: unknown variable '{bogus}' in the format"},
      {". {\n log {\n  class some\n }\n}", "Corefile:3: log: unknown class 'some'"},
      {". {\n log {\n  class\n }\n}", "Corefile:3: log: option 'class' needs"},
      {". {\n log {\n  x\n }\n}", "Corefile:3: log: unknown option 'x', expected class"},
      {"import nothing-here\n. {\n}", "Corefile:1: import 'nothing-here': no snippet"},
      {". {\n import\n}", "Corefile:2: import without argument"},
      {". {\n import a b\n}", "Corefile:2: import with more than one argument"},
      {". {\n import */*\n}", "has more than one '*'"},
      {"(a) {\n import a\n}\n. {\n import a\n}", "too many imports"},
      {"(a) {\n}\n(a) {\n}\n. {\n}", "Corefile:3: snippet 'a' is already defined"},
      {"(a) {\n errors\n", "Corefile:1: snippet 'a' is not closed"},
      {"(a)\n", "Corefile:1: snippet 'a' without '{'"},
  };
  for (const auto& c : cases) {
    const auto corefile = parse_corefile(c.text, "Corefile");
    ASSERT_FALSE(corefile) << c.text;
    EXPECT_THAT(corefile.error().message, HasSubstr(c.error)) << c.text;
  }
}

TEST(Corefile, NulBytesAndHugeTextsAreErrors) {
  using namespace std::string_view_literals;
  EXPECT_THAT(parse_corefile("a {\n\0}"sv, "Corefile").error().message,
              HasSubstr("Corefile:2: NUL byte"));
  const std::string huge(5 * 1024 * 1024, ' ');
  EXPECT_THAT(parse_corefile(huge, "Corefile").error().message, HasSubstr("expected at most"));
}

TEST(Corefile, SnippetsAreImported) {
  const Corefile corefile = parse(R"((common) {
    errors
    log
}
(outer) {
    import common
    kubernetes cluster.local
}
. {
    import outer
    ready
}
example.org {
    import common
})");
  ASSERT_EQ(corefile.blocks.size(), 2u);
  EXPECT_TRUE(corefile.blocks[0].errors);
  EXPECT_TRUE(corefile.blocks[0].kubernetes);
  EXPECT_TRUE(corefile.blocks[0].ready);
  EXPECT_EQ(corefile.blocks[0].kubernetes->at.to_string(), "Corefile:7");
  EXPECT_TRUE(corefile.blocks[1].errors);
  EXPECT_FALSE(corefile.blocks[1].kubernetes);
}

class CorefileFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "corefileXXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << text;
  }
  Result<Corefile> parse_here(std::string_view text) {
    return parse_corefile(text, folder_ + "/Corefile");
  }

  std::string folder_;
};

TEST_F(CorefileFiles, FilesAreImportedRelativeToTheImporter) {
  write("blocks/one", "one.org {\n import ../parts/errors\n}\n");
  write("blocks/two", "two.org {\n log\n}\n");
  write("parts/errors", "errors\n");
  const auto corefile = parse_here("import blocks/*\n. {\n import parts/none*\n ready\n}\n");
  ASSERT_TRUE(corefile) << corefile.error().message;
  ASSERT_EQ(corefile->blocks.size(), 3u);
  EXPECT_TRUE(corefile->blocks[0].errors);
  EXPECT_EQ(corefile->blocks[1].logs.size(), 1u);
  EXPECT_TRUE(corefile->blocks[2].ready);
}

TEST_F(CorefileFiles, ErrorsInImportedFilesNameThatFile) {
  write("bad", "errors\nbogus\n");
  const auto corefile = parse_here(". {\n import bad\n}\n");
  ASSERT_FALSE(corefile);
  EXPECT_THAT(corefile.error().message, HasSubstr("/bad:2: unknown plugin 'bogus'"));
}

TEST_F(CorefileFiles, UpstreamsFromResolvConf) {
  write("resolv.conf",
        "# comment\nsearch example.org\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \n"
        "nameserver fe80::1%eth0\nnameserver bogus\noptions ndots:5\n");
  const auto corefile = parse_here(cat(". {\n forward . ", folder_, "/resolv.conf 192.0.2.5\n}"));
  ASSERT_TRUE(corefile) << corefile.error().message;
  const auto& upstreams = corefile->blocks[0].forwards[0].upstreams;
  ASSERT_EQ(upstreams.size(), 3u);
  EXPECT_EQ(upstreams[0].to_string(), "192.0.2.1:53");
  EXPECT_EQ(upstreams[1].to_string(), "[2001:db8::1]:53");
  write("empty", "search x\n");
  const auto none = parse_here(cat(". {\n forward . ", folder_, "/empty\n}"));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr(":2: forward: no nameserver in"));
}

TEST(Corefile, EnvironmentVariablesAreReplaced) {
  ::setenv("FAIRLEAD_TEST_ZONE", "zone.test", 1);
  ::setenv("FAIRLEAD_TEST_TTL", "17", 1);
  const Corefile corefile = parse(
      "{$FAIRLEAD_TEST_ZONE}:1053 {\n kubernetes {%FAIRLEAD_TEST_ZONE%} {\n"
      "  ttl {$FAIRLEAD_TEST_TTL}\n }\n log \"x{$FAIRLEAD_TEST_UNSET}y{name}\"\n}");
  EXPECT_THAT(key_texts(corefile.blocks[0]), ElementsAre("zone.test.:1053"));
  EXPECT_EQ(corefile.blocks[0].kubernetes->ttl_s, 17u);
  EXPECT_EQ(corefile.blocks[0].logs[0].format, "xy{name}");
}

TEST(Corefile, QuotesKeepBlanksBracesAndLines) {
  const Corefile corefile = parse(". {\n log . \"a \\\"b\\\" # {name}\n{rcode}\"\n errors\n}");
  EXPECT_EQ(corefile.blocks[0].logs[0].format, "a \"b\" # {name}\n{rcode}");
  EXPECT_TRUE(corefile.blocks[0].errors);
}

TEST(Corefile, TheDefaultParses) {
  const std::string text(default_corefile());
  EXPECT_THAT(text, HasSubstr("/etc/resolv.conf"));
  std::string offline = text;
  offline.replace(offline.find("/etc/resolv.conf"), 16, "192.0.2.1");
  const Corefile corefile = parse(offline);
  ASSERT_EQ(corefile.blocks.size(), 1u);
  const ServerBlock& block = corefile.blocks[0];
  EXPECT_TRUE(block.errors && block.health && block.ready && block.prometheus && block.kubernetes);
  EXPECT_EQ(block.kubernetes->ttl_s, 30u);
  EXPECT_THAT(block.kubernetes->zones, ElementsAre("cluster.local.", "in-addr.arpa.", "ip6.arpa."));
}

TEST(Corefile, BlocksWithoutPluginsAreAllowed) {
  const Corefile corefile = parse("a.org b.org {\n}\n");
  EXPECT_THAT(corefile.blocks[0].forwards, IsEmpty());
  EXPECT_FALSE(corefile.blocks[0].kubernetes);
}

// Every Corefile in the documentation is one that works.
TEST(Corefile, SnippetsOfTheDocumentationParse) {
  std::vector<std::string> files = {FAIRLEAD_SOURCE_DIR "/docs/dns.md"};
  for (const auto& entry :
       std::filesystem::directory_iterator(FAIRLEAD_SOURCE_DIR "/dns/plugins")) {
    if (entry.is_directory()) files.push_back(entry.path() / "README.md");
  }
  EXPECT_EQ(files.size(), 8u);
  for (const auto& file : files) {
    std::ifstream in(file);
    ASSERT_TRUE(in) << file;
    std::string snippet;
    int first = 0, snippets = 0, number = 0;
    for (std::string line; std::getline(in, line);) {
      ++number;
      if (line == "```corefile") {
        first = number;
        snippet.clear();
      } else if (line == "```" && first != 0) {
        const auto corefile = parse_corefile(snippet, file);
        EXPECT_TRUE(corefile) << file << ':' << first << ": " << corefile.error().message;
        first = 0;
        ++snippets;
      } else if (first != 0) {
        snippet += line + "\n";
      }
    }
    EXPECT_GT(snippets, 0) << file << " shows no Corefile";
  }
}

}  // namespace
}  // namespace fairlead::dns
