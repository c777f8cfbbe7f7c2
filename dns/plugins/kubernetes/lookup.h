// One question in one of the zones of a `kubernetes` step.
#pragma once

#include "dns/plugins/kubernetes/kubernetes.h"
#include "dns/plugins/kubernetes/selection.h"

namespace fairlead::dns {

// Labels left of the zone, from the right (CoreDNS plugin/kubernetes/parse.go):
//   svc | pod; NAMESPACE; SERVICE or Pod address; then ENDPOINT, or _PROTOCOL and _PORT.
class Kubernetes::Lookup {
 public:
  Lookup(const Kubernetes& step, const Question& question, size_t zone, const ZoneIndex* index,
         uint32_t turn, MessageWriter& writer, FollowTarget& follow)
      : step_(step),
        question_(question),
        name_(question.name),
        zone_(zone),
        index_(index),
        turn_(turn),
        writer_(writer),
        follow_(follow),
        type_(question.type),
        ttl_(step.config_.ttl_s) {}

  Found run();

 private:
  // A name that exists and is answered by no record of its own.
  Found exists();
  Found missing() const { return index_ == nullptr ? Found::unsynced : Found::name_error; }

  Found apex();
  Found name_servers();
  Found default_name_server();
  Found version();
  Found reverse(const Ip& ip);
  Found below_service();
  Found external(const ServiceRecord& record);
  Found cluster_ip(const ServiceRecord& record, const PortFilter& filter);
  Found endpoints(const EndpointSelection& selection);
  Found pod();

  Found bare_addresses(const ServiceRecord& record);
  Found selected_addresses(const EndpointSelection& selection);
  Found cluster_ip_srv(const ServiceRecord& record, const PortFilter& filter);
  Found endpoint_srv(const EndpointSelection& selection);

  // "\4host\3web\7default\3svc", the host left out when empty. Valid until the next call.
  std::string_view service_labels(const ServiceRecord& record, std::string_view host);
  NameRef zone_ref() const { return static_cast<NameRef>(question_.owner + name_.offsets[zone_]); }

  const Kubernetes& step_;
  const Question& question_;
  const FoldedName& name_;
  const size_t zone_;  // the number of labels left of the zone
  const ZoneIndex* index_;
  const uint32_t turn_;
  MessageWriter& writer_;
  FollowTarget& follow_;
  const uint16_t type_;
  const uint32_t ttl_;
  std::array<char, 4 * (max_label_bytes + 1)> labels_;
};

}  // namespace fairlead::dns
