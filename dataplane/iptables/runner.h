// The door to iptables: its programs, of one of the two variants, for both families.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "dataplane/iptables/layout.h"

namespace fairlead::dataplane {

enum class IptablesVariant : uint8_t {
  automatic,
  nft,     // iptables-nft: nf_tables below
  legacy,  // iptables-legacy: x_tables of old
};

std::string_view to_string(IptablesVariant variant);  // "auto", "nft", "legacy"
std::optional<IptablesVariant> parse_iptables_variant(std::string_view text);

class IptablesRunner {
 public:
  virtual ~IptablesRunner() = default;

  // "iptables v1.8.9 (nf_tables)": says which variant is used, and that it works.
  virtual Result<std::string> version() = 0;

  // How many rules one input should hold. iptables-nft 1.8.9 keeps the names that an input mentions
  // in a sorted list and walks it for each rule, so that 10^5 of them cost minutes; x_tables is
  // replaced as a whole each time.
  virtual size_t writes_at_once() = 0;

  // `iptables-restore --noflush --counters`: a table takes all of its part or nothing; mangle,
  // filter and nat are committed one after the other.
  virtual Result<void> restore(bool ipv6, const std::string& input) = 0;

  // `iptables-save`, line by line.
  virtual Result<void> save(bool ipv6, const std::function<void(std::string_view)>& line) = 0;

  // `iptables -S CHAIN`; nothing when there is no such chain.
  virtual Result<std::optional<std::string>> list_chain(bool ipv6, ipt::Table table,
                                                        const std::string& chain) = 0;

  // A value below /proc/sys, "net/ipv4/conf/all/route_localnet". Returns what was there.
  virtual Result<std::string> set_sysctl(const std::string& name, const std::string& value) = 0;
};

struct RunnerLimits {
  unsigned lock_wait_s = 5;                     // for /run/xtables.lock (legacy)
  Duration process = std::chrono::seconds(30);  // a child that runs longer is killed
};

// The programs of PATH, in the calling thread's network namespace. `automatic` chooses at the first
// use: the variant in which kubelet or an earlier proxy has left chains, else what `iptables` is,
// else what there is. Used by one thread at a time, which waits for each child.
std::unique_ptr<IptablesRunner> make_iptables_runner(IptablesVariant variant, RunnerLimits limits);

}  // namespace fairlead::dataplane
