#include "dataplane/userspace/local_routes.h"
#include "net/netlink.h"

namespace fairlead::dataplane::userspace {
namespace {

class KernelRoutes final : public LocalRoutes {
 public:
  Result<void> open() override {
    FL_TRY(netlink_, net::Netlink::open());
    return {};
  }
  Result<void> add(const Ip& ip, const std::optional<Ip>& source) override {
    if (!netlink_) return not_open();
    return netlink_->add_local({ip, source}, route_protocol);
  }
  Result<void> remove(const Ip& ip) override {
    if (!netlink_) return not_open();
    return netlink_->delete_local(ip, route_protocol);
  }
  Result<RouteSources> list() override {
    if (!netlink_) return not_open();
    FL_TRY(const auto routes, netlink_->locals(route_protocol));
    RouteSources out;
    for (const net::LocalRoute& route : routes) out.emplace(route.ip, route.source);
    return out;
  }
  Result<std::set<Ip>> addresses() override {
    if (!netlink_) return not_open();
    FL_TRY(const auto links, netlink_->links());
    FL_TRY(const auto rows, netlink_->addresses());
    std::set<int> of_services;
    for (const net::LinkInfo& link : links) {
      if (holds_service_addresses(link)) of_services.insert(link.index);
    }
    std::set<Ip> out;
    for (const net::AddressInfo& row : rows) {
      if (!of_services.contains(row.link_index)) out.insert(row.ip);
    }
    return out;
  }

 private:
  static std::unexpected<Error> not_open() { return fail("no netlink socket: not started"); }

  std::optional<net::Netlink> netlink_;
};

}  // namespace

std::unique_ptr<LocalRoutes> make_kernel_routes() { return std::make_unique<KernelRoutes>(); }

}  // namespace fairlead::dataplane::userspace
