#include <optional>
#include <utility>
#include <vector>

#include "base/text.h"
#include "dataplane/ipvs/host.h"
#include "net/netlink.h"
#include "net/netns.h"

namespace fairlead::dataplane::ipvs {
namespace {

int all_bits(const Ip& ip) { return ip.is_v4() ? 32 : 128; }

bool is_link_local(const Ip& ip) {
  return !ip.is_v4() && ip.bytes[0] == 0xfe && (ip.bytes[1] & 0xc0) == 0x80;
}

class KernelHost final : public Host {
 public:
  Result<void> open(const std::string& device) override {
    if (!netlink_) {
      FL_TRY(netlink_, net::Netlink::open());
    }
    device_ = device;
    return {};
  }

  Result<void> make_device() override {
    FL_TRY(const auto found, find());
    if (found) return check_kind(*found);
    FL_TRY_VOID(netlink_->add_dummy(device_));
    // IPv6 addresses of an interface that is down do not answer.
    return netlink_->set_up(device_);
  }

  Result<HostAddresses> addresses() override {
    FL_TRY(const auto device, find());
    FL_TRY(const auto all, netlink_->addresses());
    HostAddresses out;
    out.has_device = device.has_value();
    for (const net::AddressInfo& address : all) {
      if (!device || address.link_index != device->index) {
        out.elsewhere.insert(address.ip);
      } else if (!is_link_local(address.ip)) {
        out.device.insert(address.ip);
      }
    }
    return out;
  }

  Result<void> add(const Ip& ip) override {
    return netlink_->add_address(device_, ip, all_bits(ip));
  }

  Result<void> remove(const Ip& ip) override {
    const auto removed = netlink_->delete_address(device_, ip, all_bits(ip));
    if (removed) return {};
    FL_TRY(const HostAddresses now, addresses());
    return now.device.contains(ip) ? removed : Result<void>();
  }

  Result<void> remove_device() override {
    FL_TRY(const auto found, find());
    return found ? netlink_->delete_link(device_) : Result<void>();
  }

  Result<void> write_sysctl(std::string_view key, std::string_view value) override {
    return net::write_sysctl(key, value);
  }

 private:
  Result<std::optional<net::LinkInfo>> find() {
    FL_TRY(auto links, netlink_->links());
    for (net::LinkInfo& link : links) {
      if (link.name == device_) return std::optional(std::move(link));
    }
    return std::optional<net::LinkInfo>();
  }

  Result<void> check_kind(const net::LinkInfo& link) {
    if (link.kind != "dummy") {
      return fail(cat("interface ", link.name, " is of kind \"", link.kind, "\", expected dummy"));
    }
    return link.up ? Result<void>() : netlink_->set_up(link.name);
  }

  std::optional<net::Netlink> netlink_;
  std::string device_;
};

}  // namespace

Result<void> set_sysctls(Host& host, bool strict_arp) {
  std::vector<std::pair<std::string_view, std::string_view>> settings = {
      {"net/ipv4/ip_forward", "1"},
      {"net/ipv4/vs/conntrack", "1"},  // masquerade needs it
      // Packets to a destination that is gone end their connection, and clients with a remembered
      // destination of weight 0 get another.
      {"net/ipv4/vs/expire_nodest_conn", "1"},
      {"net/ipv4/vs/expire_quiescent_template", "1"},
  };
  if (strict_arp) {
    settings.push_back({"net/ipv4/conf/all/arp_ignore", "1"});
    settings.push_back({"net/ipv4/conf/all/arp_announce", "2"});
  }
  for (const auto& [key, value] : settings) FL_TRY_VOID(host.write_sysctl(key, value));
  return {};
}

std::unique_ptr<Host> make_kernel_host() { return std::make_unique<KernelHost>(); }

}  // namespace fairlead::dataplane::ipvs
