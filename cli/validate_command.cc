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
    std::fprintf(stderr, "%s%s\n", problem.warning ? "warning: " : "", problem.to_string().c_str());
  }
  std::printf("%s, %s\n", many(manifests.objects.size(), "object").c_str(),
              many(manifests.problems.size(), "problem").c_str());
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
  command->add_option("paths", arguments->paths, "files or folders of manifests");
  command->add_option("--corefile", arguments->corefile, "a Corefile to check")->type_name("FILE");
  command->callback([=, &action] {
    if (arguments->paths.empty() && arguments->corefile.empty()) {
      throw CLI::ValidationError("validate", "name files, folders or --corefile FILE");
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
