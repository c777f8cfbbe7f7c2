#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "api/json.h"
#include "base/text.h"
#include "cli/agent_client.h"
#include "cli/commands.h"

namespace fairlead::cli {
namespace {

struct Arguments {
  std::string socket, output;
  bool repair = false;
};

void print_table(const json::value& answer, const json::array& drifts) {
  for (const json::value& drift : drifts) {
    const std::string owner(find_string(drift, "owner"));
    const auto* repaired = find(drift, "repaired");
    std::printf(
        "%s (owner: %s)%s\n", std::string(find_string(drift, "what")).c_str(),
        owner.empty() ? "unknown" : owner.c_str(),
        repaired != nullptr && repaired->is_bool() && repaired->get_bool() ? " repaired" : "");
  }
  std::printf("%s mode: %zu %s\n", std::string(find_string(answer, "mode")).c_str(), drifts.size(),
              drifts.size() == 1 ? "drift" : "drifts");
}

int run(const Arguments& arguments) {
  const auto body =
      agent_body(arguments.socket, "POST", arguments.repair ? "/verify?repair=true" : "/verify",
                 std::chrono::minutes(5));
  if (!body) return report_failure("verify", body.error().message);
  const auto answer = parse_json(*body);
  if (!answer) return report_failure("verify", answer.error().message);
  const json::value* drifts = find(*answer, "drifts");
  if (drifts == nullptr || !drifts->is_array()) {
    return report_failure("verify", "the answer is not a verification");
  }
  if (arguments.output == "json") {
    std::puts(body->c_str());
  } else {
    print_table(*answer, drifts->get_array());
  }
  return drifts->get_array().empty() ? 0 : 1;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  auto* command =
      app.add_subcommand("verify", "read the kernel back and compare it with the cluster");
  add_agent_flags(*command, arguments->socket, &arguments->output);
  command->add_flag("--repair", arguments->repair, "put right what differs");
  command->footer("Exit code: 0 no drift, 1 drift was found, repaired or not, or no answer.");
  command->callback([=, &action] { action = [=] { return run(*arguments); }; });
}

}  // namespace fairlead::cli
