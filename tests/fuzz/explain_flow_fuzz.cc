// What `fairlead explain` is asked, and objects as they may come: the first line is "SOURCE
// DESTINATION", the rest is YAML. Whatever decodes compiles, and the explanation of a flow ends as
// resolve() says.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/codec.h"
#include "api/yaml.h"
#include "base/check.h"
#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/explain.h"

namespace {

using namespace fairlead;             // NOLINT: a fuzz target is one file
using namespace fairlead::dataplane;  // NOLINT

NodeConfig node() {
  NodeConfig out{.node_name = "node-a",
                 .node_ips = {*Ip::parse("192.168.0.1"), *Ip::parse("fd01::1")},
                 .local_pod_cidrs = {*Cidr::parse("10.1.0.0/24"), *Cidr::parse("fd00:1::/64")}};
  out.zone = "zone-1";
  out.service_cidrs = {*Cidr::parse("10.96.0.0/16")};
  return out;
}

void explain_all(const api::Snapshot& snapshot, const ServiceTable& table, const Ip& source) {
  for (const auto& [key, entry] : table.services) {
    for (const Mode mode : {Mode::ebpf, Mode::ipvs}) {
      const ServiceExplanation service = explain_service(snapshot, table, key, mode);
      CHECK(service.key == key);
      (void)to_table(service);
      (void)json::serialize(to_json(service));
    }
    for (const FlowQuery& flow : flows_to(table, key, source)) {
      (void)to_table(explain_flow(table, flow, Mode::userspace));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const size_t space = std::min(line.find(' '), line.size());
  const auto source = Ip::parse(line.substr(0, space));
  const auto to = parse_destination(trim(line.substr(space)));
  if (!to) CHECK(!to.error().message.empty());

  api::SnapshotBuilder builder;
  const auto documents = api::parse_yaml(bytes.substr(line.size()), "objects");
  if (!documents) return 0;
  for (const auto& document : *documents) {
    if (auto object = api::decode(document.value)) builder.put(*std::move(object));
  }
  const auto tick = builder.take();
  const ServiceTable table = compile(*tick.snapshot, node());
  if (!source) return 0;
  explain_all(*tick.snapshot, table, *source);
  if (!to || source->is_v4() != to->first.ip.is_v4()) return 0;
  const FlowExplanation flow = explain_flow(table, {*source, to->first, to->second});
  const FlowResult result = resolve(table, *source, to->first.ip, to->first.port, to->second);
  CHECK(flow.outcome == result.outcome && flow.candidates == result.candidates);
  (void)to_table(flow);
  (void)json::serialize(to_json(flow));
  return 0;
}
