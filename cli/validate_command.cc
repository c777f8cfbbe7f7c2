#include <algorithm>
#include <cstdio>

#include "api/validate.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "dns/corefile.h"

namespace fairlead::cli {
namespace {

int check_corefile(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return report_failure("validate", text.error().message);
  if (const auto corefile = dns::parse_corefile(*text, path); !corefile) {
    std::fprintf(stderr, "%s\n", corefile.error().message.c_str());
    return 1;
  }
  std::printf("%s: ok\n", path.c_str());
  return 0;
}

std::string many(size_t count, std::string_view what) {
  return cat(count, ' ', what, count == 1 ? "" : "s");
}

int check_manifests(const std::vector<std::string>& paths) {
  const auto schema = api::Schema::load();
  if (!schema) return report_failure("validate", schema.error().message);
  api::Manifests manifests = api::validate_files(paths, *schema);
  for (const auto& problem : manifests.problems) {
    std::fprintf(stderr, "%s\n", problem.to_string().c_str());
  }
  const auto warnings = std::ranges::count_if(manifests.problems, &api::Problem::warning);
  const size_t problems = manifests.problems.size() - static_cast<size_t>(warnings);
  std::string line = cat(many(manifests.objects.size() + manifests.other_kinds, "object"), ", ",
                         many(problems, "problem"));
  if (warnings > 0) line += cat(", ", many(static_cast<size_t>(warnings), "warning"));
  std::puts(line.c_str());
  return manifests.ok() ? 0 : 1;
}

}  // namespace

void add_validate(CLI::App& app, Action& action) {
  struct Arguments {
    std::vector<std::string> paths;
    std::string corefile;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = app.add_subcommand("validate", "check manifests or a Corefile; changes nothing");
  command->add_option("paths", arguments->paths, "files or folders of manifests")->type_name("");
  command->add_option("--corefile", arguments->corefile, "a Corefile to check")->type_name("FILE");
  command->footer("Exit code: 0 nothing wrong, 1 problems (warnings alone are none).");
  command->callback([=, &action] {
    if (arguments->paths.empty() && arguments->corefile.empty()) {
      throw CLI::ValidationError("name files, folders or --corefile FILE");
    }
    action = [arguments] {
      int code = 0;
      if (!arguments->corefile.empty()) code |= check_corefile(arguments->corefile);
      if (!arguments->paths.empty()) code |= check_manifests(arguments->paths);
      return code;
    };
  });
}

}  // namespace fairlead::cli
