#include <linux/ip_vs.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "dataplane/ipvs/message.h"
#include "dataplane/ipvs/table.h"
#include "net/netlink_generic.h"

namespace fairlead::dataplane::ipvs {
namespace {

uint8_t command_of(Verb verb) {
  switch (verb) {
    case Verb::add_service:
      return IPVS_CMD_NEW_SERVICE;
    case Verb::edit_service:
      return IPVS_CMD_SET_SERVICE;
    case Verb::delete_service:
      return IPVS_CMD_DEL_SERVICE;
    case Verb::add_destination:
      return IPVS_CMD_NEW_DEST;
    case Verb::edit_destination:
      return IPVS_CMD_SET_DEST;
    case Verb::delete_destination:
      return IPVS_CMD_DEL_DEST;
  }
  return IPVS_CMD_UNSPEC;
}

// What the kernel's answer means here (net/netfilter/ipvs/ip_vs_ctl.c).
std::string reason(const TableWrite& write, int error) {
  if (error == ENOENT && write.verb <= Verb::edit_service) {
    return cat("the kernel has no scheduler ", write.settings.scheduler, ", or no such service");
  }
  if (error == ESRCH || error == ENOENT) return "there is none";
  if (error == EEXIST) return "there is one already";
  return std::strerror(error);
}

class KernelTable final : public Table {
 public:
  Result<void> open() override {
    if (netlink_) return {};
    auto opened = net::GenericNetlink::open(IPVS_GENL_NAME);
    if (!opened) return fail("IPVS (kernel module ip_vs)", opened.error());
    netlink_ = std::move(*opened);
    return {};
  }

  Result<Services> list() override {
    FL_TRY_VOID(open());
    Services services;
    const auto each = [&](std::string_view attributes) -> Result<void> {
      FL_TRY(const auto answer, parse_service(attributes));
      if (!answer) return {};
      if (services.size() == max_services) return fail(cat("more than ", max_services));
      services[answer->key].settings = answer->settings;
      return {};
    };
    FL_TRY(const int error, netlink_->dump(IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION, "", each));
    if (error != 0) return fail(cat("cannot list IPVS services: ", std::strerror(error)));
    // The kernel lists destinations of one service at a time.
    for (auto& [key, service] : services) {
      FL_TRY(service.destinations, destinations(key));
    }
    return services;
  }

  Result<Destinations> destinations(const ServiceKey& key) override {
    FL_TRY_VOID(open());
    Destinations out;
    const auto each = [&](std::string_view attributes) -> Result<void> {
      FL_TRY(const auto answer, parse_destination(attributes, !key.ip.is_v4()));
      if (out.size() == max_destinations) return fail(cat("more than ", max_destinations));
      out[answer.address] = answer.destination;
      return {};
    };
    FL_TRY(const int error,
           netlink_->dump(IPVS_CMD_GET_DEST, IPVS_GENL_VERSION, encode_key(key), each));
    if (error != 0) {
      return fail(cat("cannot list destinations of ", to_text(key), ": ", std::strerror(error)));
    }
    return out;
  }

  Result<void> write(const TableWrite& write) override {
    FL_TRY_VOID(open());
    std::string attributes;
    if (write.verb >= Verb::add_destination) {
      attributes = encode_destination(write.key, write.address, write.destination);
    } else if (write.verb == Verb::delete_service) {
      attributes = encode_key(write.key);
    } else {
      attributes = encode_service(write.key, write.settings);
    }
    FL_TRY(const int error, netlink_->send(command_of(write.verb), IPVS_GENL_VERSION, attributes));
    if (error != 0) return fail(cat(to_text(write), ": ", reason(write, error)));
    return {};
  }

  Result<void> set_timeouts(const Timeouts& timeouts) override {
    FL_TRY_VOID(open());
    FL_TRY(const int error,
           netlink_->send(IPVS_CMD_SET_CONFIG, IPVS_GENL_VERSION, encode_timeouts(timeouts)));
    if (error != 0) return fail(cat("cannot set IPVS time-outs: ", std::strerror(error)));
    return {};
  }

 private:
  std::optional<net::GenericNetlink> netlink_;
};

}  // namespace

std::string to_text(const TableWrite& write) {
  constexpr std::string_view verbs[] = {"add", "edit", "delete", "add", "edit", "delete"};
  const std::string_view verb = verbs[static_cast<size_t>(write.verb)];
  if (write.verb < Verb::add_destination) {
    return cat(verb, " IPVS service ", to_text(write.key));
  }
  return cat(verb, " destination ", write.address.to_string(), " of IPVS service ",
             to_text(write.key));
}

std::unique_ptr<Table> make_kernel_table() { return std::make_unique<KernelTable>(); }

}  // namespace fairlead::dataplane::ipvs
