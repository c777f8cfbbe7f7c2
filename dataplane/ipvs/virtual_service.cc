#include "dataplane/ipvs/virtual_service.h"

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

constexpr std::string_view schedulers[] = {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh",
                                           "dh", "sed", "nq", "mh",  "fo",   "ovf"};

std::string flagged_address(const ServiceKey& key) {
  const std::string_view flag = key.protocol == Protocol::tcp   ? "-t "
                                : key.protocol == Protocol::udp ? "-u "
                                                                : "--sctp-service ";
  return cat(flag, SocketAddress{key.ip, key.port}.to_string());
}

}  // namespace

Result<void> check_scheduler(std::string_view name) {
  for (const std::string_view known : schedulers) {
    if (name == known) return {};
  }
  return fail(cat("'", name,
                  "' is no IPVS scheduler: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, fo "
                  "or ovf"));
}

std::string to_text(const ServiceKey& key) {
  return cat(SocketAddress{key.ip, key.port}.to_string(), "/", to_string(key.protocol));
}

std::string service_line(const ServiceKey& key, const Settings& settings) {
  std::string line = cat("-A ", flagged_address(key), " -s ", settings.scheduler);
  if (settings.timeout_s != 0) append(line, cat(" -p ", settings.timeout_s));
  if (settings.by_source_port) append(line, cat(" -b ", settings.scheduler, "-port"));
  return line;
}

std::string destination_line(const ServiceKey& key, const SocketAddress& address,
                             const Destination& destination) {
  constexpr std::string_view ways[] = {"-m", "-l", "-i", "-g"};  // IP_VS_CONN_F_MASQ and the rest
  const std::string_view way = destination.forwarding < 4 ? ways[destination.forwarding] : "-?";
  return cat("-a ", flagged_address(key), " -r ", address.to_string(), " ", way, " -w ",
             destination.weight);
}

std::vector<std::string> lines(const ServiceKey& key, const VirtualService& service) {
  std::vector<std::string> out{service_line(key, service.settings)};
  for (const auto& [address, destination] : service.destinations) {
    out.push_back(destination_line(key, address, destination));
  }
  return out;
}

}  // namespace fairlead::dataplane::ipvs
