#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/text.h"
#include "cli/agent_client.h"
#include "cli/commands.h"

namespace fairlead::cli {
namespace {

struct Arguments {
  std::string socket, output;
  std::string service, from, to;
};

void add_parameter(std::string& target, std::string_view name, const std::string& value) {
  if (!value.empty()) target += cat('&', name, '=', net::percent_encode(value));
}

int run(const Arguments& arguments) {
  std::string target = cat("/explain?output=", arguments.output);
  add_parameter(target, "service", arguments.service);
  add_parameter(target, "from", arguments.from);
  add_parameter(target, "to", arguments.to);
  const auto body = agent_body(arguments.socket, "GET", target);
  if (!body) return report_failure("explain", body.error().message);
  std::fputs(body->c_str(), stdout);
  if (arguments.output == "json") std::fputc('\n', stdout);
  return 0;
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  auto* command =
      app.add_subcommand("explain", "why a Service or a flow behaves as it does on this node");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* help) {
    auto arguments = std::make_shared<Arguments>();
    auto* sub = command->add_subcommand(name, help);
    add_agent_flags(*sub, arguments->socket, &arguments->output);
    sub->callback([=, &action] { action = [=] { return run(*arguments); }; });
    return std::pair(sub, arguments);
  };
  const auto [service, about] =
      add("service", "every endpoint in or out and why, every policy, the kernel's entries");
  service->add_option("service", about->service, "NAMESPACE/NAME, or a name in default")
      ->type_name("")
      ->required();
  service->add_option("--from", about->from, "also the way of a flow from this address")
      ->type_name("IP");
  service->add_option("--to", about->to, "... to this destination only")
      ->type_name("IP:PORT/PROTOCOL");
  const auto [flow, between] = add("flow", "who serves a flow, and every decision on its way");
  flow->add_option("source", between->from, "address that dials")->type_name("")->required();
  flow->add_option("destination", between->to, "IP:PORT/PROTOCOL that is dialled")
      ->type_name("")
      ->required();
  command->footer(
      "Examples:\n"
      "  fairlead explain service default/web --from 10.244.1.7\n"
      "  fairlead explain flow 203.0.113.7 192.168.0.1:30080/TCP");
}

}  // namespace fairlead::cli
