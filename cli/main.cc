#include <signal.h>

#include "cli/command_line.h"

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  return fairlead::cli::run_command_line(argc, argv);
}
