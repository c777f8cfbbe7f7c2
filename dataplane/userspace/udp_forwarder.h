// UdpForwarder: a flow for each client and dialled address, with a socket of its own towards the
// backend. Answers leave from the address that was dialled.
#pragma once

#include <map>

#include "dataplane/userspace/datagrams.h"
#include "dataplane/userspace/forwarding.h"
#include "net/fd.h"

namespace fairlead::dataplane::userspace {

// Belongs to the loop of `with`. `socket` (open_captured_udp()) stays open and is the caller's.
class UdpForwarder {
 public:
  UdpForwarder(const Forwarding& with, int socket);
  ~UdpForwarder();
  UdpForwarder(const UdpForwarder&) = delete;
  UdpForwarder& operator=(const UdpForwarder&) = delete;

 private:
  struct FlowName {
    SocketAddress client, dialled;
    friend bool operator==(const FlowName&, const FlowName&) = default;
  };
  struct FlowHash {
    size_t operator()(const FlowName& name) const noexcept;
  };

  // Sockets bound to what clients dialled, each as long as a flow uses it.
  struct Answering {
    net::Fd fd;
    size_t users = 0;
  };
  using AnsweringMap = std::map<SocketAddress, Answering>;
  class Lease {
   public:
    Lease(AnsweringMap& map, AnsweringMap::iterator place) : map_(&map), place_(place) {
      ++place_->second.users;
    }
    Lease(Lease&& other) noexcept
        : map_(std::exchange(other.map_, nullptr)), place_(other.place_) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(map_, other.map_);
      std::swap(place_, other.place_);
      return *this;
    }
    ~Lease() {
      if (map_ != nullptr && --place_->second.users == 0) map_->erase(place_);
    }
    int fd() const { return place_->second.fd.get(); }

   private:
    AnsweringMap* map_;
    AnsweringMap::iterator place_;
  };

  struct Flow {
    Lease answering;
    net::RawAddress client;
    std::shared_ptr<const NamedRule> rule;  // of the choice
    Backend backend;
    bool refused = false;  // the backend said that nobody listens
    net::Fd socket;        // connected to the backend
    net::Watch watch;      // goes before the socket
  };
  using Flows = ExpiringTable<FlowName, Flow, FlowHash>;

  void from_clients();
  void from_backend(const FlowName& name);
  void forward(const RoutingTable& table, const FlowName& name, int index);
  Flow* find_or_begin(const RoutingTable& table, const FlowName& name, int index);
  bool still_right(const RoutingTable& table, const FlowName& name, Flow& flow) const;
  bool choose_backend(const Choice& choice, const FlowName& name, Flow& flow);
  Result<Lease> lease(const SocketAddress& dialled);
  void sweep();

  const Forwarding& with_;
  const int socket_;
  Datagrams datagrams_;
  AnsweringMap answering_;
  Flows flows_;
  net::Watch watch_;
  net::Timer sweeper_;
};

}  // namespace fairlead::dataplane::userspace
