// What the commands of a transcript talk to. Lines of a transcript that begin with @ set it:
//
//   @agent MODE [SETTING=VALUE ...]   a whole agent on $DIR/manifests, its socket $DIR/agent.sock,
//                                     whose driver of that mode touches no kernel
//   @answers STATUS TEXT              in the agent's place, a server that gives this one answer
//   @drift WHAT; OWNER                the driver finds this when it reads the kernel back
//   @fails MODE TEXT                  the driver of MODE cannot start, and says why; no TEXT: it
//   can
//   @undone TEXT                      no driver can write to the kernel, and says why
//   @wait TEXT                        until the agent's status contains it
//
// Besides `fairlead`, a transcript knows
//
//   ask DOOR METHOD TARGET [| TEXT]   the agent's HTTP answer on DOOR (socket, healthz, metrics):
//                                     status, `Allow`, body; only the lines that contain TEXT
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "net/http_server.h"

namespace fairlead::cli {

// What the drivers of a scene do; the agent's thread reads what the test's thread sets.
struct SceneDrivers {
  std::mutex mutex;
  std::vector<dataplane::Drift> drifts;
  std::map<std::string, std::string, std::less<>> fail_start;
  std::string undone;
};

class Scene {
 public:
  Scene();
  ~Scene();

  const std::string& folder() const { return folder_; }
  void write(const std::string& file, const std::string& text) const;
  // An error says what is wrong with the line.
  std::string set(const std::string& line);
  // What came back, as in a transcript.
  std::string run(const std::string& command);

 private:
  std::string start_agent(const std::vector<std::string>& words);
  std::string answer_with(int status, const std::string& text);
  std::string wait_for(const std::string& text) const;
  std::string ask(const std::vector<std::string>& words, const std::string& only) const;
  void stop();

  std::string folder_;
  SocketAddress healthz_, metrics_;
  MemoryLogSink sink_;
  SceneDrivers drivers_;
  std::unique_ptr<agent::Agent> agent_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<net::HttpServer> server_;
  std::thread thread_;
};

}  // namespace fairlead::cli
