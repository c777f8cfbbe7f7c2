#include <cstdio>
#include <memory>

#include "base/text.h"
#include "cli/agent_client.h"
#include "cli/commands.h"
#include "cli/flags.h"

namespace fairlead::cli {
namespace {

struct Arguments {
  std::string socket, mode;
};

int run(const Arguments& arguments) {
  const bool set = !arguments.mode.empty();
  const std::string target =
      set ? cat("/proxyMode?mode=", net::percent_encode(arguments.mode)) : "/proxyMode";
  const auto body =
      agent_body(arguments.socket, set ? "PUT" : "GET", target, std::chrono::minutes(2));
  if (!body) return report_failure("proxy-mode", body.error().message);
  std::puts(std::string(trim(*body)).c_str());
  return 0;
}

}  // namespace

void add_proxy_mode(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("proxy-mode", "which mode a running agent is in, and another one");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* help) {
    auto arguments = std::make_shared<Arguments>();
    auto* sub = command->add_subcommand(name, help);
    add_agent_flags(*sub, arguments->socket, nullptr);
    sub->callback([=, &action] { action = [=] { return run(*arguments); }; });
    return std::pair(sub, arguments);
  };
  add("get", "print the mode");
  const auto [set, arguments] = add("set", "put another mode in place, without losing a flow");
  set->add_option("mode", arguments->mode, "ebpf, nftables, iptables, ipvs or userspace")
      ->check(one_of({"ebpf", "nftables", "iptables", "ipvs", "userspace"}))
      ->type_name("")
      ->required();
  set->footer(
      "The new mode takes all new flows at once; open ones end where they began, then the old\n"
      "mode is removed. `fairlead status` shows both. A restart goes back to --proxy-mode.");
}

}  // namespace fairlead::cli
