#include "bench/bench_report.h"

#include <cstdio>
#include <optional>

#include "base/concat.h"
#include "base/human_size.h"

namespace llamlx {
namespace {

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[128];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

/// Three digits that count, and no exponent: "4.37", "52.1", "2080".
std::string digits(double value) {
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return format("%.*f", decimals, value);
}

/// "87%", or "-" where no limit was measured.
std::string percent(double share) {
  return share > 0 ? format("%.*f%%", share < 0.0995 ? 1 : 0, 100 * share)
                   : "-";
}

Json fraction(double value) { return value > 0 ? Json(value) : Json(nullptr); }

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const std::optional<GpuLimits>& gpu) {
  if (!gpu) return nullptr;
  Json bandwidths = Json::array(), peaks = Json::array();
  for (const auto& found : gpu->bandwidths) {
    bandwidths.push_back({{"bytes", found.bytes},
                          {"gb_per_s", found.best_gb_per_s},
                          {"median_gb_per_s", found.median_gb_per_s}});
  }
  for (const auto& peak : gpu->peaks) {
    peaks.push_back({{"unit", peak.unit},
                     {"type", peak.type},
                     {"gop_per_s", peak.best_gop_per_s},
                     {"median_gop_per_s", peak.median_gop_per_s}});
  }
  return {{"name", gpu->name},
          {"compute_capability", gpu->compute_capability},
          {"multiprocessors", gpu->multiprocessors},
          {"memory_bytes", gpu->memory_bytes},
          {"limits", {{"read_bandwidth", bandwidths}, {"peaks", peaks}}}};
}

Json to_json(const MachineLimits& machine) {
  Json bandwidths = Json::array(), peaks = Json::array();
  for (const auto& found : machine.bandwidths) {
    bandwidths.push_back({{"bytes", found.bytes},
                          {"threads", found.threads},
                          {"huge_pages", found.pages == Pages::huge},
                          {"gb_per_s", found.best_gb_per_s},
                          {"median_gb_per_s", found.median_gb_per_s}});
  }
  for (const auto& peak : machine.peaks) {
    peaks.push_back({{"isa", to_string(peak.isa)},
                     {"type", peak.type},
                     {"threads", peak.threads},
                     {"gop_per_s", peak.best_gop_per_s},
                     {"median_gop_per_s", peak.median_gop_per_s}});
  }
  return {{"cpu", machine.cpu},
          {"cores", machine.cores},
          {"threads", machine.threads},
          {"isa", machine.isa},
          {"limits", {{"read_bandwidth", bandwidths}, {"peaks", peaks}}},
          {"gpu", to_json(machine.gpu)}};
}

Json to_json(const BenchResult& result) {
  const auto& test = result.test;
  const auto& rate = result.tokens_per_second;
  const bool has_limits = result.bandwidth_gb_per_s > 0;
  return {
      {"test", name_of(test)},
      {"prompt", test.prompt},
      {"generate", test.generate},
      {"depth", test.depth},
      {"batch", test.batch},
      {"threads", test.threads},
      {"repetitions", result.repetitions},
      {"temperature", result.temperature},
      {"tokens_per_second",
       {{"median", rate.median}, {"min", rate.min}, {"max", rate.max}}},
      {"ms_per_token", 1000 / rate.median},
      {"bytes_per_token", result.per_token.bytes},
      {"flops_per_token", result.per_token.flops},
      {"gb_per_s", result.gb_per_s()},
      {"gflops", result.gflop_per_s()},
      {"fraction_of_bandwidth", fraction(result.fraction_of_bandwidth())},
      {"fraction_of_peak", fraction(result.fraction_of_peak())},
      {"peak_unit", has_limits ? Json(result.peak.unit) : Json(nullptr)},
      {"limit",
       {{"gb_per_s", fraction(result.bandwidth_gb_per_s)},
        {"gflops", fraction(result.peak.gflop_per_s)},
        {"tokens_per_second",
         has_limits ? Json(result.limit_tokens_per_second()) : Json(nullptr)}}},
      {"peak_memory_bytes", result.peak_memory_bytes},
      {"gpu",
       {{"busy_percent", or_null(result.gpu.busy_percent)},
        {"memory_bytes", or_null(result.gpu.memory_used_bytes)},
        {"watts", or_null(result.gpu.watts)}}}};
}

const char* to_string(Gauge::Unit unit) {
  switch (unit) {
    case Gauge::Unit::percent:
      return "percent";
    case Gauge::Unit::bytes:
      return "bytes";
    case Gauge::Unit::watts:
      return "watts";
  }
  return "";
}

Json to_json(const Activity& activity) {
  if (activity.samples.empty()) return nullptr;
  Json seconds = Json::array(), gauges = Json::array(), spans = Json::array();
  for (const auto& sample : activity.samples) seconds.push_back(sample.seconds);
  for (std::size_t i = 0; i < activity.gauges.size(); ++i) {
    const auto& gauge = activity.gauges[i];
    Json values = Json::array();
    for (const auto& sample : activity.samples) {
      values.push_back(sample.values.at(i));
    }
    gauges.push_back({{"name", gauge.name},
                      {"unit", to_string(gauge.unit)},
                      {"values", values}});
  }
  for (const auto& span : activity.spans) {
    spans.push_back({{"phase", to_string(span.phase)},
                     {"label", span.label},
                     {"begin", span.begin},
                     {"end", span.end}});
  }
  return {{"seconds", seconds}, {"gauges", gauges}, {"spans", spans}};
}

Json model_json(const BenchReport& report) {
  const auto& model = report.model;
  return {{"path", report.path},
          {"model_type", model.model_type},
          {"format", model.format},
          {"quantization", model.quantization},
          {"parameters", model.parameters},
          {"weight_bytes", model.weight_bytes},
          {"context_length", model.context_length},
          {"dtype", model.dtype},
          {"device", model.device},
          {"kernels", model.kernels},
          {"kv_bits", model.kv_bits}};
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted(1, '"');
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string markdown_cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

}  // namespace

Json to_json(const BenchReport& report) {
  Json json = {{"machine", to_json(report.machine)}};
  if (report.path.empty()) return json;
  json["model"] = model_json(report);
  json["notices"] = report.notices;
  json["results"] = Json::array();
  for (const auto& result : report.results) {
    json["results"].push_back(to_json(result));
  }
  json["activity"] = to_json(report.activity);
  return json;
}

TextTable results_table(const BenchReport& report) {
  TextTable table = {{"test", "threads", "tok/s", "min", "max", "ms/tok",
                      "MB/tok", "GB/s", "of limit", "GFLOP/s", "of peak",
                      "memory"}};
  for (const auto& result : report.results) {
    const auto& rate = result.tokens_per_second;
    table.push_back(
        {name_of(result.test), std::to_string(result.test.threads),
         digits(rate.median), digits(rate.min), digits(rate.max),
         digits(1000 / rate.median), digits(result.per_token.bytes / 1e6),
         digits(result.gb_per_s()), percent(result.fraction_of_bandwidth()),
         digits(result.gflop_per_s()), percent(result.fraction_of_peak()),
         human_size(result.peak_memory_bytes)});
  }
  return table;
}

TextTable results_numbers(const BenchReport& report) {
  TextTable table = {{"model",
                      "quantization",
                      "dtype",
                      "device",
                      "kernels",
                      "test",
                      "prompt",
                      "generate",
                      "depth",
                      "batch",
                      "threads",
                      "repetitions",
                      "tokens_per_second",
                      "min_tokens_per_second",
                      "max_tokens_per_second",
                      "bytes_per_token",
                      "flops_per_token",
                      "gb_per_s",
                      "gflops",
                      "fraction_of_bandwidth",
                      "fraction_of_peak",
                      "limit_tokens_per_second",
                      "peak_memory_bytes"}};
  const auto number = [](double value) { return format("%.6g", value); };
  for (const auto& result : report.results) {
    const auto& [prompt, generate, depth, batch, threads] = result.test;
    const auto& rate = result.tokens_per_second;
    const auto& model = report.model;
    const bool has_limits = result.bandwidth_gb_per_s > 0;
    table.push_back({report.path,
                     model.quantization,
                     model.dtype,
                     model.device,
                     model.kernels,
                     name_of(result.test),
                     std::to_string(prompt),
                     std::to_string(generate),
                     std::to_string(depth),
                     std::to_string(batch),
                     std::to_string(threads),
                     std::to_string(result.repetitions),
                     number(rate.median),
                     number(rate.min),
                     number(rate.max),
                     number(result.per_token.bytes),
                     number(result.per_token.flops),
                     number(result.gb_per_s()),
                     number(result.gflop_per_s()),
                     has_limits ? number(result.fraction_of_bandwidth()) : "",
                     has_limits ? number(result.fraction_of_peak()) : "",
                     has_limits ? number(result.limit_tokens_per_second()) : "",
                     std::to_string(result.peak_memory_bytes)});
  }
  return table;
}

TextTable bandwidth_table(const MachineLimits& machine) {
  TextTable table = {{"reading", "threads", "pages", "GB/s", "median"}};
  for (const auto& found : machine.bandwidths) {
    table.push_back({human_size(found.bytes), std::to_string(found.threads),
                     found.pages == Pages::huge ? "huge" : "small",
                     digits(found.best_gb_per_s),
                     digits(found.median_gb_per_s)});
  }
  if (!machine.gpu) return table;
  for (const auto& found : machine.gpu->bandwidths) {
    table.push_back({human_size(found.bytes), "GPU", "-",
                     digits(found.best_gb_per_s),
                     digits(found.median_gb_per_s)});
  }
  return table;
}

TextTable peaks_table(const MachineLimits& machine) {
  TextTable table = {{"arithmetic", "threads", "Gop/s", "median"}};
  for (const auto& peak : machine.peaks) {
    table.push_back({concat(peak.type, ", ", to_string(peak.isa)),
                     std::to_string(peak.threads), digits(peak.best_gop_per_s),
                     digits(peak.median_gop_per_s)});
  }
  if (!machine.gpu) return table;
  for (const auto& peak : machine.gpu->peaks) {
    table.push_back({concat(peak.type, ", ", peak.unit), "GPU",
                     digits(peak.best_gop_per_s),
                     digits(peak.median_gop_per_s)});
  }
  return table;
}

std::string machine_line(const MachineLimits& machine) {
  const auto cpu =
      concat(machine.cpu, ", ", machine.cores,
             machine.cores == 1 ? " core, " : " cores, ", machine.isa);
  if (!machine.gpu) return cpu;
  const auto& gpu = *machine.gpu;
  return concat(gpu.name, ", ", gpu.multiprocessors,
                " multiprocessors of compute capability ",
                gpu.compute_capability / 10, ".", gpu.compute_capability % 10,
                ", ", human_size(gpu.memory_bytes), "; ", cpu);
}

std::string model_name(const BenchReport& report) {
  const std::filesystem::path path(report.path);
  const auto name = path.has_filename() ? path : path.parent_path();
  return name.filename().string();
}

std::string model_line(const BenchReport& report) {
  const auto& model = report.model;
  return concat(model_name(report), ": ", model.model_type, ", ",
                human_count(model.parameters), " parameters, ",
                model.quantization == "none" ? "dense" : model.quantization,
                "; ", model.dtype, " on the ", model.device, ", ",
                model.kernels, "'s kernels",
                model.kv_bits == 0 ? "" : ", keys and values in 8 bits");
}

std::string to_csv(const TextTable& table) {
  std::string text;
  for (const auto& row : table) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += ',';
      text += csv_cell(row[i]);
    }
    text += '\n';
  }
  return text;
}

std::string to_markdown(const TextTable& table) {
  std::string text;
  for (std::size_t line = 0; line < table.size(); ++line) {
    for (const auto& cell : table[line]) {
      text += concat("| ", markdown_cell(cell), ' ');
    }
    text += "|\n";
    if (line != 0) continue;
    for (std::size_t i = 0; i < table[line].size(); ++i) {
      text += i == 0 ? "| --- " : "| ---: ";
    }
    text += "|\n";
  }
  return text;
}

}  // namespace llamlx
