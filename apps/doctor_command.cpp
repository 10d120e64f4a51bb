#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/concat.h"
#include "commands.h"
#include "doctor_checks.h"
#include "json_output.h"
#include "kernel_facts.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx doctor
      will llamlx run well on this machine?
  llamlx doctor mlx_model
      and will this model?
  llamlx doctor mlx_model --json

Exit status 1 when there is a problem, 0 for warnings or none.)";

struct DoctorArguments {
  std::string model;
  bool json = false;
};

std::string mark(CheckStatus status) {
  std::string word(to_string(status));
  constexpr std::size_t kWidth = 9;
  word.resize(kWidth, ' ');
  switch (status) {
    case CheckStatus::ok:
      return coloured(Colour::green, word);
    case CheckStatus::warning:
      return coloured(Colour::yellow, word);
    case CheckStatus::problem:
      return coloured(Colour::red, word);
  }
  return word;
}

std::ptrdiff_t count(const std::vector<Check>& checks, CheckStatus status) {
  return std::ranges::count(checks, status, &Check::status);
}

void print_checks(const std::vector<Check>& checks) {
  constexpr std::size_t kNameWidth = 14;
  constexpr const char* kIndent = "                       ";
  std::string text;
  for (const auto& check : checks) {
    std::string name = check.name;
    name.resize(kNameWidth, ' ');
    text += concat(mark(check.status), name, printable(check.finding), '\n');
    if (!check.remedy.empty()) {
      text += concat(kIndent, "-> ", printable(check.remedy), '\n');
    }
  }
  const auto problems = count(checks, CheckStatus::problem);
  const auto warnings = count(checks, CheckStatus::warning);
  text += concat('\n', problems, problems == 1 ? " problem, " : " problems, ",
                 warnings, warnings == 1 ? " warning" : " warnings", ".\n");
  print(text);
}

/// What computes here, or null and a problem among `checks` when the
/// environment asks for what this machine does not have.
Json look_at_kernels(std::vector<Check>& checks) {
  try {
    const auto facts = read_kernel_facts();
    std::ranges::move(check_kernels(facts), std::back_inserter(checks));
    return to_json(facts);
  } catch (const Error& error) {
    checks.push_back(problem_of("kernels", error));
    return {};
  }
}

Json to_json(const std::vector<Check>& checks, const Json& kernels) {
  Json list = Json::array();
  for (const auto& check : checks) {
    list.push_back({{"name", check.name},
                    {"status", to_string(check.status)},
                    {"finding", check.finding},
                    {"remedy", check.remedy}});
  }
  return {{"checks", list},
          {"kernels", kernels},
          {"problems", count(checks, CheckStatus::problem)},
          {"warnings", count(checks, CheckStatus::warning)}};
}

void run_doctor(const DoctorArguments& arguments) {
  auto checks = check_machine();
  const auto kernels = look_at_kernels(checks);
  if (!arguments.model.empty()) {
    std::ranges::move(check_model(arguments.model), std::back_inserter(checks));
  }
  if (arguments.json) {
    print_json(to_json(checks, kernels));
  } else {
    print_checks(checks);
  }
  if (count(checks, CheckStatus::problem) > 0) throw CLI::RuntimeError(1);
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto* command =
      add_command(app, "doctor",
                  "Check the machine, and whether a model fits it", kExamples);
  const auto arguments = std::make_shared<DoctorArguments>();
  command
      ->add_option("MODEL,--model-path,--model", arguments->model,
                   "Folder of a model, or a GGUF file, to check as well")
      ->type_name("PATH");
  command->add_flag("--json", arguments->json,
                    "Report on standard output as JSON");
  command->callback([arguments] { run_doctor(*arguments); });
}

}  // namespace llamlx
