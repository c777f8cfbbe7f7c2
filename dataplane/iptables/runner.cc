#include "dataplane/iptables/runner.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "dataplane/iptables/process.h"
#include "net/fd.h"

namespace fairlead::dataplane {
namespace {

Result<std::string> read_file(const std::string& path) {
  const net::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  const ssize_t size = fd ? ::read(fd.get(), buffer, sizeof buffer) : -1;
  if (size < 0) return fail(cat(path, ": ", std::strerror(errno)));
  return std::string(buffer, static_cast<size_t>(size));
}

// Calls `line` for each whole line of what arrives in pieces.
class Lines {
 public:
  explicit Lines(const std::function<void(std::string_view)>& line) : line_(line) {}

  void feed(std::string_view piece) {
    for (size_t end; (end = piece.find('\n')) != piece.npos; piece.remove_prefix(end + 1)) {
      if (rest_.empty()) {
        line_(piece.substr(0, end));
      } else {
        rest_ += piece.substr(0, end);
        line_(rest_);
        rest_.clear();
      }
    }
    // A line without end is kept to a size that its reader will refuse.
    rest_ += piece.substr(0, std::min(piece.size(), max_bytes - rest_.size()));
  }

 private:
  static constexpr size_t max_bytes = 64 * 1024;
  const std::function<void(std::string_view)>& line_;
  std::string rest_;
};

class RealRunner final : public IptablesRunner {
 public:
  RealRunner(IptablesVariant variant, RunnerLimits limits) : variant_(variant), limits_(limits) {}

  Result<std::string> version() override {
    FL_TRY(const std::string out, run({program(false, ""), "-V"}, ""));
    return std::string(trim(out));
  }

  size_t writes_at_once() override {
    if (variant_ == IptablesVariant::automatic) variant_ = choose();
    return variant_ == IptablesVariant::nft ? 3000 : SIZE_MAX;
  }

  Result<void> restore(bool ipv6, const std::string& input) override {
    FL_TRY_VOID(
        run({program(ipv6, "-restore"), "--noflush", "--counters", "-w", cat(limits_.lock_wait_s)},
            input));
    return {};
  }

  Result<void> save(bool ipv6, const std::function<void(std::string_view)>& line) override {
    Lines lines(line);
    return run({program(ipv6, "-save")}, "", [&](std::string_view piece) { lines.feed(piece); });
  }

  Result<std::optional<std::string>> list_chain(bool ipv6, ipt::Table table,
                                                const std::string& chain) override {
    std::string out;
    const std::vector<std::string> command{program(ipv6, ""),
                                           "-w",
                                           cat(limits_.lock_wait_s),
                                           "-t",
                                           std::string(to_string(table)),
                                           "-S",
                                           chain};
    FL_TRY(const ipt::ProcessEnd end,
           ipt::run_process(command, "", limits_.process,
                            [&](std::string_view piece) { out += piece; }));
    if (end.exit_code == 0) return std::optional(out);
    // iptables has one exit code for all that goes wrong.
    if (end.errors.find("No chain/target/match") != end.errors.npos ||
        end.errors.find("does not exist") != end.errors.npos) {
      return std::optional<std::string>();
    }
    return fail(cat(command.front(), ": ", trim(end.errors)));
  }

  Result<std::string> set_sysctl(const std::string& name, const std::string& value) override {
    const std::string path = cat("/proc/sys/", name);
    FL_TRY(const std::string text, read_file(path));
    const std::string old(trim(text));
    if (old == value) return old;
    const net::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), value.data(), value.size()) < 0) {
      return fail(cat(path, " cannot be set to ", value, ": ", std::strerror(errno)));
    }
    return old;
  }

 private:
  Result<void> run(const std::vector<std::string>& command, std::string_view input,
                   const std::function<void(std::string_view)>& output) {
    FL_TRY(const ipt::ProcessEnd end, ipt::run_process(command, input, limits_.process, output));
    if (end.exit_code == 0) return {};
    return fail(cat(command.front(), ": exit code ", end.exit_code, ": ", trim(end.errors)));
  }

  Result<std::string> run(const std::vector<std::string>& command, std::string_view input) {
    std::string out;
    FL_TRY_VOID(run(command, input, [&](std::string_view piece) { out += piece; }));
    return out;
  }

  // "ip6tables-nft-restore"
  std::string program(bool ipv6, std::string_view suffix) {
    if (variant_ == IptablesVariant::automatic) variant_ = choose();
    return cat(ipv6 ? "ip6tables" : "iptables",
               variant_ == IptablesVariant::nft ? "-nft" : "-legacy", suffix);
  }

  IptablesVariant choose() {
    // An earlier run's, kube-proxy's, the kubelet's.
    const std::pair<const char*, const char*> canaries[] = {{"nat", "KUBE-PROXY-CANARY"},
                                                            {"mangle", "KUBE-PROXY-CANARY"},
                                                            {"mangle", "KUBE-KUBELET-CANARY"}};
    const auto has_chains = [&](std::string_view name, std::string_view tables) {
      return std::any_of(std::begin(canaries), std::end(canaries), [&](const auto& canary) {
        return tables.find(canary.first) != tables.npos &&
               run({cat("iptables-", name), "-t", canary.first, "-S", canary.second}, "");
      });
    };
    if (has_chains("nft", "nat mangle")) return IptablesVariant::nft;
    // Asking iptables-legacy makes the table that it is asked about.
    const auto names = read_file("/proc/net/ip_tables_names");
    if (names && has_chains("legacy", *names)) return IptablesVariant::legacy;
    if (const auto version = run({"iptables", "-V"}, "")) {
      return version->find("legacy") != version->npos ? IptablesVariant::legacy
                                                      : IptablesVariant::nft;
    }
    return run({"iptables-nft", "-V"}, "") ? IptablesVariant::nft : IptablesVariant::legacy;
  }

  IptablesVariant variant_;
  const RunnerLimits limits_;
};

}  // namespace

std::string_view to_string(IptablesVariant variant) {
  constexpr std::string_view names[] = {"auto", "nft", "legacy"};
  return names[static_cast<size_t>(variant)];
}

std::optional<IptablesVariant> parse_iptables_variant(std::string_view text) {
  for (const auto variant :
       {IptablesVariant::automatic, IptablesVariant::nft, IptablesVariant::legacy}) {
    if (to_string(variant) == text) return variant;
  }
  return std::nullopt;
}

std::unique_ptr<IptablesRunner> make_iptables_runner(IptablesVariant variant, RunnerLimits limits) {
  return std::make_unique<RealRunner>(variant, limits);
}

}  // namespace fairlead::dataplane
