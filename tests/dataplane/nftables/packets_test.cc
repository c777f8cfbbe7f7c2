// Real packets through the nftables driver.
#include "dataplane/nftables/driver.h"
#include "tests/dataplane/packet_contract.h"

namespace fairlead::dataplane {
namespace {

INSTANTIATE_TEST_SUITE_P(Nftables, PacketContract,
                         testing::Values(PacketCase{
                             "Nftables", Mode::nftables,
                             [](net::EventLoop&, const Log& log, Registry& registry) {
                               return make_nftables_driver({}, log, registry);
                             }}),
                         packet_case_name);

}  // namespace
}  // namespace fairlead::dataplane
