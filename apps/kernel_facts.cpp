#include "kernel_facts.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "base/concat.h"
#include "base/cpu_features.h"

namespace llamlx {
namespace {

std::string_view name_of(ValueType type) {
  switch (type) {
    case ValueType::f32:
      return "float32";
    case ValueType::f16:
      return "float16";
    case ValueType::bf16:
      return "bfloat16";
  }
  return "";
}

/// "dense" or "4-bit".
std::string name_of(const WeightFormat& format) {
  return format.bits == 0 ? "dense" : concat(format.bits, "-bit");
}

/// The name of a kernel that may be missing.
std::string_view name_of(const MatmulKernel* kernel) {
  return kernel == nullptr ? "none" : kernel->name;
}

Json to_json(const MatmulKernel* kernel) {
  return kernel == nullptr ? Json() : Json(kernel->name);
}

Json to_json(const FormatKernels& kernels) {
  const auto& [format, compute, serving] = kernels;
  Json wrong = Json::array();
  for (const auto& note : serving.wrong) {
    wrong.push_back({{"kernel", note.kernel->name}, {"fault", note.fault}});
  }
  return {{"values", name_of(format.values)},
          {"bits", format.bits == 0 ? Json() : Json(format.bits)},
          {"group_size", format.bits == 0 ? Json() : Json(format.group_size)},
          {"compute", name_of(compute)},
          {"few_rows", to_json(serving.one_row)},
          {"many_rows", to_json(serving.many_rows)},
          {"wrong", wrong}};
}

Check check_isa(const KernelFacts& facts) {
  std::string found;
  for (const auto isa : facts.supported) {
    found += concat(found.empty() ? "" : ", ", to_string(isa));
  }
  const auto finding = concat(
      to_string(facts.active),
      facts.is_forced ? ", as LLAMLX_FORCE_ISA says" : "", "; found ", found);
  if (facts.active != facts.supported.back()) {
    return {"kernels", CheckStatus::warning, finding,
            "unset LLAMLX_FORCE_ISA to use all this processor has"};
  }
  if (facts.amx_is_refused) {
    return {"kernels", CheckStatus::warning,
            concat(finding, "; the system refuses this processor's AMX"),
            "use Linux 5.16 or later, and let containers and virtual machines "
            "have AMX (arch_prctl, AMX tile state)"};
  }
  return {"kernels", CheckStatus::ok, finding};
}

bool have_same_kernels(const FormatKernels& a, const FormatKernels& b) {
  return a.compute == b.compute && a.serving.one_row == b.serving.one_row &&
         a.serving.many_rows == b.serving.many_rows;
}

Check check_formats(const std::string& names, const FormatKernels& kernels) {
  const auto& serving = kernels.serving;
  const bool is_served =
      serving.one_row != nullptr && serving.many_rows != nullptr;
  Check check{"products", CheckStatus::ok,
              concat("in ", name_of(kernels.compute), ", ", names, ": ",
                     to_string(serving))};
  if (!is_served) {
    check.status = CheckStatus::problem;
    check.remedy = "report this, with what the other lines say";
  }
  return check;
}

Check check_wrong(const KernelNote& note) {
  return {"products", CheckStatus::warning,
          concat(note.kernel->name, " is not used, for it is wrong with ",
                 name_of(note.format), " weights in ", name_of(note.compute),
                 ": it ", note.fault),
          "report this, with what the other lines say; answers are right, but "
          "slower"};
}

}  // namespace

KernelFacts read_kernel_facts() {
  KernelFacts facts;
  facts.supported = supported_isas();
  facts.active = active_isa();
  const char* forced = std::getenv("LLAMLX_FORCE_ISA");
  facts.is_forced = forced != nullptr && *forced != '\0';
  facts.amx_is_refused = amx_is_refused();
  // A width that every kernel takes.
  constexpr int kCols = 4096;
  const auto add = [&](const WeightFormat& format) {
    facts.formats.push_back(
        {format, format.values, serving_kernels(format, kCols, format.values)});
  };
  for (const auto type : {ValueType::bf16, ValueType::f16, ValueType::f32}) {
    add({type, 0, 0});
    for (const int bits : {2, 3, 4, 5, 6, 8}) add({type, bits, 64});
  }
  return facts;
}

std::vector<Check> check_kernels(const KernelFacts& facts) {
  std::vector<Check> checks = {check_isa(facts)};
  std::vector<FormatKernels> left = facts.formats;
  while (!left.empty()) {
    const auto first = left.front();
    std::string names;
    std::erase_if(left, [&](const FormatKernels& each) {
      if (!have_same_kernels(first, each)) return false;
      names += concat(names.empty() ? "" : ", ", name_of(each.format));
      return true;
    });
    checks.push_back(check_formats(names, first));
  }
  for (const auto& each : facts.formats) {
    std::ranges::transform(each.serving.wrong, std::back_inserter(checks),
                           check_wrong);
  }
  return checks;
}

Json to_json(const KernelFacts& facts) {
  Json supported = Json::array(), formats = Json::array();
  for (const auto isa : facts.supported) supported.push_back(to_string(isa));
  for (const auto& each : facts.formats) formats.push_back(to_json(each));
  return {{"supported", supported},
          {"active", to_string(facts.active)},
          {"forced", facts.is_forced},
          {"amx_refused", facts.amx_is_refused},
          {"formats", formats}};
}

std::string to_string(const ServingKernels& serving) {
  return concat(name_of(serving.one_row), " for few rows, ",
                name_of(serving.many_rows), " for many");
}

}  // namespace llamlx
