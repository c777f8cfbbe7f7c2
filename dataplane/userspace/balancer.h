// Balancer: which of the backends that a flow may have it gets: in turn, or the one that the client
// had before.
#pragma once

#include <span>
#include <string>

#include "base/clock.h"
#include "dataplane/userspace/expiring_table.h"
#include "dataplane/userspace/routing_table.h"

namespace fairlead::dataplane::userspace {

// Belongs to one thread. `clock` outlives it.
class Balancer {
 public:
  Balancer(const Clock& clock, size_t max_clients) : clock_(clock), clients_(max_clients) {}

  // An index into `backends`, which is not empty and a set of this rule (cluster_backends() or
  // local_backends()). Strictly in turn for each rule and set, whatever the frontend.
  size_t choose(const NamedRule& rule, std::span<const Backend> backends, const Ip& client);

  // The client has another backend than choose() said: the one said could not be reached.
  void remember(const NamedRule& rule, const Ip& client, const Backend& backend);
  // The client is still there.
  void seen(const NamedRule& rule, const Ip& client);

  // Forgets whose turn it is in rules that nobody asked for in this long.
  void expire(Duration idle) { turns_.expire(clock_.now() - idle); }

  size_t clients() const { return clients_.size(); }

 private:
  struct Client {
    std::string rule;
    Ip ip;
    friend bool operator==(const Client&, const Client&) = default;
  };
  struct ClientHash {
    size_t operator()(const Client& client) const noexcept {
      return std::hash<std::string>()(client.rule) * 31 + std::hash<Ip>()(client.ip);
    }
  };
  // Of all backends, of a set that begins with the first, and of one that does not.
  using Turn = std::array<size_t, 3>;

  static constexpr size_t max_turns = 65536;

  const Clock& clock_;
  ExpiringTable<std::string, Turn> turns_{max_turns};
  ExpiringTable<Client, Backend, ClientHash> clients_;
};

}  // namespace fairlead::dataplane::userspace
