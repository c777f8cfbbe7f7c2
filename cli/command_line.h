// The command line as a whole: which command, its flags, and what is said about wrong ones.
#pragma once

#include <memory>

#include "cli/commands.h"

namespace fairlead::cli {

// All commands, `action` set by the one that parse() finds.
std::unique_ptr<CLI::App> make_command_line(Action& action);

// Parses and runs. Returns the exit code: 0, 1 for a failure, 2 for wrong usage.
int run_command_line(int argc, const char* const* argv);

}  // namespace fairlead::cli
