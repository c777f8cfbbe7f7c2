// A request to the agent of this machine, on its unix socket.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "net/http.h"

namespace CLI {
class App;
}

namespace fairlead::cli {

// Any status is an answer; an error says that there was none.
Result<net::HttpResponse> ask_agent(const std::string& socket, const std::string& method,
                                    const std::string& target,
                                    Duration timeout = std::chrono::seconds(30));

// The body of a 200; other answers are errors with what the agent said.
Result<std::string> agent_body(const std::string& socket, const std::string& method,
                               const std::string& target,
                               Duration timeout = std::chrono::seconds(30));

// --socket and -o/--output (table or json; not when null), which every command about an agent has.
void add_agent_flags(CLI::App& command, std::string& socket, std::string* output);

}  // namespace fairlead::cli
