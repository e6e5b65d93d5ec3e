// docs/reference/cli.md and the help texts, from the commands themselves.

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "opscore/app/cli/exit_codes.h"
#include "opscore/app/command_options.h"
#include "opscore/app/command_tree.h"

namespace opscore {
namespace {

using Visit = std::function<void(CLI::App& command, const std::string& path)>;

void visit_commands(CLI::App& app, const std::string& prefix, const Visit& visit) {
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    std::string path = prefix + command->get_name();
    visit(*command, path);
    visit_commands(*command, path + " ", visit);
  }
}

void visit_all(const Visit& visit) {
  look_at_commands([&](CLI::App& root) { visit_commands(root, "", visit); });
}

// Not CLI11's own help: what that looks like depends on its version.
std::string reference_of(CLI::App& command, const std::string& path) {
  std::string usage = "opscore " + path;
  std::string rows;
  bool is_family = !command.get_subcommands([](const CLI::App*) { return true; }).empty();
  for (const CLI::Option* option : command.get_options()) {
    if (option->nonpositional()) {
      std::string name = "--" + option->get_lnames().at(0);
      if (name == "--help") continue;
      bool takes_value = option->get_items_expected_max() > 0;
      rows += fmt::format("| `{}{}` | {} |\n", name,
                          takes_value        ? " VALUE"
                          : name == "--wait" ? "[=DURATION]"
                                             : "",
                          option->get_description());
    } else {
      bool repeats = option->get_items_expected_max() > 1;
      std::string name = option->get_name(true);
      usage += fmt::format(" {}{}", name, repeats ? "..." : "");
      rows += fmt::format("| `{}` | {} |\n", name, option->get_description());
    }
  }
  usage += is_family ? " [COMMAND] [OPTIONS]" : " [OPTIONS]";
  std::string table = rows.empty() ? "" : "\n| option | meaning |\n|---|---|\n" + rows;
  return fmt::format("\n## opscore {}\n\n{}.\n\n```\n{}\n\n{}\n```\n{}", path,
                     command.get_description(), usage, command.get_footer(), table);
}

constexpr char kReferenceHead[] = R"(# Command line

Every command, as `opscore COMMAND --help` tells it. This page is written by `app_test` from the
commands themselves; a test compares the two.

Commands that talk to a server find it with `--url`, `OPSCORE_URL`, or `server.address` and
`server.port` of the configuration, and send the token of `OPSCORE_API_TOKEN` (see
[configuration](config.md)). When no server answers, `explain` and `tasks show` read the store
themselves and say so; the others say how to start the server.

On a terminal, tables fit its width and states have colours (not with `NO_COLOR`); in a pipe,
columns are separated by tabs. `--json` prints the server's answer, byte by byte. Results go to
stdout, remarks and errors to stderr. Errors read `opscore: what was attempted: what went wrong`,
and a line with what to do.

## Exit codes

| code | meaning |
|---|---|
)";

}  // namespace

std::vector<CommandHelp> all_command_help() {
  std::vector<CommandHelp> out;
  visit_all([&](CLI::App& command, const std::string& path) {
    size_t space = path.find(' ');
    std::string parent = space == std::string::npos ? "" : " " + path.substr(0, space);
    out.push_back({path, command.help("opscore" + parent)});
  });
  return out;
}

std::string command_reference() {
  std::string text = kReferenceHead;
  for (const ExitWords& row : kExitWords)
    text += fmt::format("| {} | {} |\n", static_cast<int>(row.status), row.words);
  visit_all(
      [&](CLI::App& command, const std::string& path) { text += reference_of(command, path); });
  return text;
}

}  // namespace opscore
