// The Corefile: CoreDNS's configuration language, parsed and checked. Grammar: coredns/caddy
// caddyfile/{lexer,parse}.go and corefile(5). Every plugin and option that fairlead does not have
// is an error that names file:line and what is known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace fairlead::dns {

// Where a directive stands, for errors: "Corefile:3".
struct Position {
  std::string file;
  int line = 0;
  std::string to_string() const;
  friend bool operator==(const Position&, const Position&) = default;
};

// A zone of a server block. `name` is lower case and absolute: "." or "cluster.local.".
struct ZoneKey {
  std::string name;
  uint16_t port = 53;
  friend bool operator==(const ZoneKey&, const ZoneKey&) = default;
};

// A directive as text: `words` is the line after the directive's name, `body` the lines of its
// block, each split into words.
struct Directive {
  struct Line {
    int line = 0;
    std::vector<std::string> words;
    friend bool operator==(const Line&, const Line&) = default;
  };
  std::string name;
  Position at;
  std::vector<std::string> words;
  std::vector<Line> body;
  friend bool operator==(const Directive&, const Directive&) = default;
};

enum class PodMode : uint8_t { disabled, insecure, verified };

struct KubernetesConfig {
  Position at;
  std::vector<std::string> zones;  // lower case, absolute; the first that is not a reverse zone is
                                   // the one that PTR answers name
  std::vector<std::string> namespaces;  // empty: all
  PodMode pods = PodMode::disabled;
  bool endpoint_pod_names = false;
  bool endpoints = true;  // false: `noendpoints`
  bool ignore_empty_service = false;
  uint32_t ttl_s = 5;
  bool fallthrough = false;
  std::vector<std::string> fallthrough_zones;  // empty with fallthrough: every zone
  friend bool operator==(const KubernetesConfig&, const KubernetesConfig&) = default;
};

struct ForwardConfig {
  enum class Policy : uint8_t { random, round_robin, sequential };
  Position at;
  std::string from;                      // lower case, absolute
  std::vector<SocketAddress> upstreams;  // 1 to 15, resolv.conf files already read
  std::vector<std::string> except;       // names that are not forwarded
  bool force_tcp = false;
  bool prefer_udp = false;
  uint32_t max_fails = 2;       // 0: never marked down
  uint32_t max_concurrent = 0;  // 0: no limit of its own
  Policy policy = Policy::random;
  friend bool operator==(const ForwardConfig&, const ForwardConfig&) = default;
};

struct LogConfig {
  Position at;
  std::string zone;    // names below it are logged
  std::string format;  // with {type}, {name}, ... as the `log` plugin of CoreDNS
  bool success = true, denial = true, error = true;  // the classes that are logged
  friend bool operator==(const LogConfig&, const LogConfig&) = default;
};

struct HttpConfig {  // health, ready, prometheus
  Position at;
  SocketAddress address;
  uint32_t lameduck_ms = 0;  // health only
  friend bool operator==(const HttpConfig&, const HttpConfig&) = default;
};

// One server block. The order of its steps is dns/chain.h's, not the file's.
struct ServerBlock {
  Position at;
  std::vector<ZoneKey> keys;
  std::optional<HttpConfig> health, ready, prometheus;
  bool errors = false;
  std::vector<LogConfig> logs;  // first match decides
  std::optional<KubernetesConfig> kubernetes;
  std::vector<ForwardConfig> forwards;  // in file order
  friend bool operator==(const ServerBlock&, const ServerBlock&) = default;
};

struct Corefile {
  std::vector<ServerBlock> blocks;
  friend bool operator==(const Corefile&, const Corefile&) = default;
};

// `file_name` is the text's name in errors, and what relative imports start from. Reads the files
// that `import` and `forward` name. Errors: "Corefile:3: unknown plugin 'rewrite', expected one of
// errors, ...".
Result<Corefile> parse_corefile(std::string_view text, std::string_view file_name);

// What runs when no Corefile is given: the cluster default that kubeadm installs, as far as it
// applies here.
std::string_view default_corefile();

}  // namespace fairlead::dns
