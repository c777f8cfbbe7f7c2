// The door to the kernel's table of virtual services.
#pragma once

#include <memory>

#include "base/result.h"
#include "dataplane/ipvs/virtual_service.h"

namespace fairlead::dataplane::ipvs {

enum class Verb : uint8_t {
  add_service,
  edit_service,
  delete_service,  // and its destinations; their connections end
  add_destination,
  edit_destination,
  delete_destination,  // its connections end
};

// One message to the kernel. Fields that the verb does not need are not looked at.
struct TableWrite {
  Verb verb = Verb::add_service;
  ServiceKey key;
  Settings settings = {};
  SocketAddress address = {};
  Destination destination = {};
};
std::string to_text(const TableWrite& write);  // "add destination 10.0.0.1:80 to ..."

class Table {
 public:
  virtual ~Table() = default;
  // In the namespace of the calling thread, once and for all. A second call does nothing.
  virtual Result<void> open() = 0;
  // All services by address, with their destinations. At most max_services of max_destinations.
  virtual Result<Services> list() = 0;
  virtual Result<Destinations> destinations(const ServiceKey& key) = 0;
  // Refused: adding what is there, changing or deleting what is not.
  virtual Result<void> write(const TableWrite& write) = 0;
  virtual Result<void> set_timeouts(const Timeouts& timeouts) = 0;
};

// More than this is nobody's cluster: reading it back ends with an error.
inline constexpr size_t max_services = 1'000'000;
inline constexpr size_t max_destinations = 100'000;

std::unique_ptr<Table> make_kernel_table();

}  // namespace fairlead::dataplane::ipvs
