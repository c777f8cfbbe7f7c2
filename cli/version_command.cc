#include <cstdio>

#include "cli/commands.h"
#include "cli/flags.h"

namespace fairlead::cli {

std::string version() { return FAIRLEAD_VERSION; }

int report_failure(const std::string& command, const std::string& message) {
  std::fprintf(stderr, "fairlead %s: %s\n", command.c_str(), message.c_str());
  return 1;
}

int report_wrong_usage(const std::string& command, const std::string& message) {
  report_failure(command, message);
  std::fprintf(stderr, "Run 'fairlead %s --help' for more.\n", command.c_str());
  return 2;
}

void add_version(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("version", "print the version");
  command->callback([&action] {
    action = [] {
      std::printf("fairlead %s\n", version().c_str());
      return 0;
    };
  });
}

}  // namespace fairlead::cli
