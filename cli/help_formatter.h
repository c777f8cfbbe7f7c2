// How `--help` looks, the same for every command.
#pragma once

#include <memory>

namespace CLI {
class FormatterBase;
}

namespace fairlead::cli {

// What it does, usage, flags as "--name VALUE  help [default]", subcommands, footer; one empty line
// between them and none at the end.
std::shared_ptr<CLI::FormatterBase> make_help_formatter();

}  // namespace fairlead::cli
