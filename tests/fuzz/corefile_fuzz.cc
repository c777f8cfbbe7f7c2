// A Corefile from anybody. `import` and `forward` open files by name: those words are left out, so
// that fuzzing reads nothing of the machine.
#include <string>

#include "base/check.h"
#include "dns/corefile.h"
#include "dns/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dns;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (text.find('/') != std::string::npos && text.find("import") != std::string::npos) return 0;
  const auto corefile = parse_corefile(text, "Corefile");
  if (!corefile) {
    CHECK(!corefile.error().message.empty());
    return 0;
  }
  // Whatever is accepted can be served.
  const Plan plan(*corefile, {});
  CHECK(!plan.sites.empty());
  for (const auto& block : corefile->blocks) CHECK(!block.keys.empty());
  return 0;
}
