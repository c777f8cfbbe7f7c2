#include "cli/agent_client.h"

#include <sys/stat.h>

#include <cerrno>

#include "agent/config.h"
#include "cli/flags.h"
#include "net/http_client.h"

namespace fairlead::cli {
namespace {

// What to do about an agent that did not answer.
std::string_view advice(const std::string& socket) {
  struct stat info{};
  if (::stat(socket.c_str(), &info) == 0) {
    return "Only root and the agent's own user may ask, and only while it runs.";
  }
  if (errno == EACCES) return "Only root may look there.";
  return "Is the agent running? Its socket is set by --socket, there and here; in a lab, run "
         "`fairlead lab status`.";
}

}  // namespace

Result<net::HttpResponse> ask_agent(const std::string& socket, const std::string& method,
                                    const std::string& target, Duration timeout) {
  net::HttpTarget to;
  to.unix_path = socket;
  net::HttpRequest request;
  request.method = method;
  request.target = target;
  auto response = net::fetch(to, std::move(request), timeout);
  if (!response) {
    return fail(cat("the agent does not answer: ", response.error().message, "\n", advice(socket)));
  }
  return response;
}

Result<std::string> agent_body(const std::string& socket, const std::string& method,
                               const std::string& target, Duration timeout) {
  FL_TRY(const auto response, ask_agent(socket, method, target, timeout));
  if (response.status == 200) return response.body;
  const std::string_view said = trim(response.body);
  return fail(said.empty() ? cat(socket, ": answered ", response.status) : std::string(said));
}

void add_agent_flags(CLI::App& command, std::string& socket, std::string* output) {
  socket = agent::AgentConfig{}.socket;
  command.add_option("--socket", socket, "the agent's unix socket")
      ->type_name("FILE")
      ->check(not_empty("a path"))
      ->capture_default_str();
  if (output == nullptr) return;
  *output = "table";
  command.add_option("-o,--output", *output, "table or json")
      ->type_name("FORM")
      ->check(one_of({"table", "json"}))
      ->capture_default_str();
}

}  // namespace fairlead::cli
