// The `kubernetes` step: answers for the cluster's zones from a ZoneIndex. Names and answers: the
// Kubernetes DNS specification 1.1.0; what it leaves open follows CoreDNS plugin/kubernetes, with
// the differences that docs/dns.md lists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "dns/corefile.h"
#include "dns/message.h"
#include "dns/zone_index.h"

namespace fairlead::dns {

// What is asked. `owner` is where the reply holds the name: the question, or a CNAME's target.
struct Question {
  const FoldedName& name;
  uint16_t type;
  NameRef owner = question_name;
};

enum class Found : uint8_t {
  records,     // written
  no_data,     // the name exists, no record of that type: NOERROR and SOA
  name_error,  // NXDOMAIN and SOA; or the next step, if the zone falls through
  unsynced,    // there is no index yet: SERVFAIL
  follow,      // a CNAME was written; its target is to be asked for next
};

struct FollowTarget {
  FoldedName name;
  NameRef ref = 0;  // of the target in the reply
};

// Immutable after construction, shared by the workers.
class Kubernetes {
 public:
  // `local_ips` are this server's own, for the NS record's glue.
  Kubernetes(const KubernetesConfig& config, std::vector<Ip> local_ips);

  // The place in `name` where the longest of the zones begins, as a label number.
  std::optional<size_t> match_zone(const FoldedName& name) const;

  // `index` may be nullptr. `turn` rotates the addresses of headless Services. REQUIRES: `zone` is
  // match_zone(question.name). Writes into the answer section, and SRV's addresses into the
  // additional section.
  Found answer(const Question& question, size_t zone, const ZoneIndex* index, uint32_t turn,
               MessageWriter& writer, FollowTarget& follow) const;
  // The SOA record of a negative reply.
  void write_authority(const Question& question, size_t zone, const ZoneIndex* index,
                       MessageWriter& writer) const;

  bool falls_through(const FoldedName& name) const;
  IndexOptions index_options() const {
    return {.endpoint_pod_names = config_.endpoint_pod_names,
            .pods = config_.pods == PodMode::verified};
  }

 private:
  class Lookup;

  struct Zone {
    std::string wire;  // lower case
    size_t labels;
  };
  bool exposes(std::string_view namespace_label) const;

  KubernetesConfig config_;
  std::vector<Ip> local_ips_;
  std::vector<Zone> zones_;  // most labels first
  std::vector<Zone> fallthrough_zones_;
  std::vector<std::string> namespaces_;  // labels with length byte; empty: all
  std::string primary_zone_;             // wire labels without root: what PTR answers end with
};

}  // namespace fairlead::dns
