// A kernel for drivers whose rules are one table of nf_tables.
#pragma once

#include <string_view>

#include "dataplane/nftables/runner.h"
#include "tests/dataplane/contract_kernel.h"

namespace fairlead::dataplane {

class NftTableKernel : public ContractKernel {
 public:
  virtual NftRunner& rules() = 0;                   // as others may use it
  virtual std::string_view table_name() const = 0;  // family inet
};

}  // namespace fairlead::dataplane
