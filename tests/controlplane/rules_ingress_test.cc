// Ingress and IngressClass: tests/controlplane/rules/ingress.txt.
#include "tests/controlplane/rules_support.h"

namespace fairlead::controlplane {
namespace {

class RulesIngress : public testing::TestWithParam<TextCase> {};
TEST_P(RulesIngress, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesIngress, testing::ValuesIn(read_cases("rules/ingress.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

}  // namespace
}  // namespace fairlead::controlplane
