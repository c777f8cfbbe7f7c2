// Defaults and validation of Services: tests/controlplane/rules/service_*.txt.
#include "tests/controlplane/rules_support.h"

namespace fairlead::controlplane {
namespace {

class RulesServiceCreate : public testing::TestWithParam<TextCase> {};
TEST_P(RulesServiceCreate, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesServiceCreate,
                         testing::ValuesIn(read_cases("rules/service_create.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

class RulesServiceUpdate : public testing::TestWithParam<TextCase> {};
TEST_P(RulesServiceUpdate, Case) { run_admission(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Rules, RulesServiceUpdate,
                         testing::ValuesIn(read_cases("rules/service_update.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

}  // namespace
}  // namespace fairlead::controlplane
