#include "dataplane/ipvs/fake_table.h"

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

constexpr std::string_view no_memory = "Cannot allocate memory";

}  // namespace

Result<Services> FakeTable::list() {
  FL_TRY_VOID(maybe_fail(no_memory));
  return services_;
}

Result<Destinations> FakeTable::destinations(const ServiceKey& key) {
  FL_TRY_VOID(maybe_fail(no_memory));
  const auto service = services_.find(key);
  // The kernel answers with an empty list for a service that it does not have.
  return service == services_.end() ? Destinations() : service->second.destinations;
}

Result<void> FakeTable::write(const TableWrite& write) {
  ++writes_;
  if (const auto good = maybe_fail(no_memory); !good) return fail(to_text(write), good.error());
  if (write.verb < Verb::add_destination) return write_service(write);
  const auto service = services_.find(write.key);
  if (service == services_.end()) return fail(cat(to_text(write), ": no such service"));
  Destinations& destinations = service->second.destinations;
  const bool there = destinations.contains(write.address);
  if (there == (write.verb == Verb::add_destination)) {
    return fail(cat(to_text(write), ": there is ", there ? "one already" : "none"));
  }
  if (write.verb == Verb::delete_destination) {
    destinations.erase(write.address);
    return {};
  }
  Destination& destination = destinations[write.address];
  destination.weight = write.destination.weight;
  destination.forwarding = write.destination.forwarding;
  return {};
}

Result<void> FakeTable::set_timeouts(const Timeouts& timeouts) {
  FL_TRY_VOID(maybe_fail(no_memory));
  if (timeouts.tcp != 0) timeouts_.tcp = timeouts.tcp;
  if (timeouts.tcp_fin != 0) timeouts_.tcp_fin = timeouts.tcp_fin;
  if (timeouts.udp != 0) timeouts_.udp = timeouts.udp;
  return {};
}

Result<void> FakeTable::write_service(const TableWrite& write) {
  const bool there = services_.contains(write.key);
  if (there == (write.verb == Verb::add_service)) {
    return fail(cat(to_text(write), ": there is ", there ? "one already" : "none"));
  }
  if (write.verb == Verb::delete_service) {
    services_.erase(write.key);
    return {};
  }
  FL_TRY_VOID(check_scheduler(write.settings.scheduler));
  services_[write.key].settings = write.settings;
  return {};
}

}  // namespace fairlead::dataplane::ipvs
