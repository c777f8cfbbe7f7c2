#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/server_options.h"
#include "cli/signals.h"
#include "controlplane/server.h"

namespace fairlead::cli {
namespace {

int run(const Flags<ServerFlags>& flags) {
  const auto read = flags.read();
  if (!read) return report_failure("server", read.error().message);
  StopSignals signals;
  FdLogSink sink(2);
  const Log log(sink, read->log_level);
  Registry registry;
  controlplane::Server server(to_config(*read), log, registry);
  if (auto started = server.start(); !started) {
    return report_failure("server", started.error().message);
  }
  log.info("serving", {{"address", server.address().to_string()}});
  signals.wait();
  server.stop();
  return 0;
}

}  // namespace

void add_server(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags<ServerFlags>>(server_options());
  auto* command = app.add_subcommand("server", "run the control plane: an API server for kubectl");
  flags->add_to(*command);
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace fairlead::cli
