#include "compare_report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "base/concat.h"
#include "base/human_size.h"
#include "base/spread.h"
#include "table.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr std::array kMeasures = {"load_s", "prompt_tps", "generation_tps",
                                  "time_to_first_token_s", "peak_memory_bytes"};

Spread spread_over(const std::vector<Json>& documents, const char* key) {
  std::vector<double> values;
  for (const auto& document : documents) {
    values.push_back(document.at(key).get<double>());
  }
  return spread_of(std::move(values));
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

Json model_json(const ModelRuns& runs, const Score& score) {
  const auto& facts = runs.facts;
  Json json = {{"path", facts.path},
               {"format", facts.format},
               {"quantization", storage_line(facts.storage)},
               {"parameters", facts.parameters},
               {"disk_bytes", facts.disk_bytes},
               {"bits_per_weight", bits_per_weight(facts)},
               {"mean_nll", score.mean_nll},
               {"perplexity", score.perplexity},
               {"runs", Json::array()}};
  for (const char* key :
       {"text", "tokens", "finish_reason", "dtype", "device", "kernels"}) {
    json[key] = runs.first().at(key);
  }
  for (const auto& document : runs.documents) {
    Json run;
    for (const char* key : kMeasures) run[key] = document.at(key);
    json["runs"].push_back(run);
  }
  for (const char* key : kMeasures) json[key] = runs.median(key);
  return json;
}

/// One row of the table: a figure of each model, and their ratio.
using Figure = std::function<double(const ModelRuns&)>;
using Words = std::function<std::string(double)>;

std::vector<std::string> figure_row(const std::string& label,
                                    const CompareReport& report,
                                    const Figure& figure, const Words& words) {
  const double a = figure(report.a), b = figure(report.b);
  const auto quotient = ratio(a, b);
  return {label, words(a), words(b),
          quotient ? format("%.2fx", *quotient) : "-"};
}

std::string in_bytes(double value) {
  return human_size(static_cast<std::uint64_t>(value));
}

std::string in_tps(double value) {
  return value > 0 ? format("%.1f tok/s", value) : "-";
}

Figure measured(const char* key) {
  return [key](const ModelRuns& runs) { return runs.median(key); };
}

std::string file_name(const std::string& path) {
  const std::filesystem::path whole(path);
  return (whole.has_filename() ? whole : whole.parent_path())
      .filename()
      .string();
}

std::string facts_table(const CompareReport& report) {
  const auto& a = report.a.facts;
  const auto& b = report.b.facts;
  std::vector<std::vector<std::string>> table = {
      {"", "A", "B", "B / A"},
      {"model", file_name(a.path), file_name(b.path)},
      {"format", a.format, b.format},
      {"weights, mainly", to_string(a.storage.front()),
       to_string(b.storage.front())},
      {"parameters", human_count(a.parameters), human_count(b.parameters)}};
  const auto add = [&](const char* label, const Figure& figure,
                       const Words& words) {
    table.push_back(figure_row(label, report, figure, words));
  };
  add(
      "on disk",
      [](const ModelRuns& runs) {
        return static_cast<double>(runs.facts.disk_bytes);
      },
      in_bytes);
  add(
      "bits per weight",
      [](const ModelRuns& runs) { return bits_per_weight(runs.facts); },
      [](double bits) { return format("%.3g", bits); });
  add("load", measured("load_s"), human_duration);
  add("prompt", measured("prompt_tps"), in_tps);
  add("generation", measured("generation_tps"), in_tps);
  add("first token", measured("time_to_first_token_s"), human_duration);
  add("peak memory", measured("peak_memory_bytes"), in_bytes);
  return format_table(table);
}

std::string spread_line(const CompareReport& report) {
  const auto runs = report.a.documents.size();
  if (runs == 1)
    return "One run each; --runs 3 would show how far to trust it.";
  const auto percent = [](const ModelRuns& model, const char* key) {
    return format("%.0f%%", 100 * model.spread(key));
  };
  return concat("Medians of ", runs, " runs each, A and B in turn. Spread, ",
                "(most - least) / median:\nprompt ",
                percent(report.a, "prompt_tps"), " and ",
                percent(report.b, "prompt_tps"), ", generation ",
                percent(report.a, "generation_tps"), " and ",
                percent(report.b, "generation_tps"), ".");
}

/// The prompt in quotes, if it is short enough for a title.
std::string title_of_answer(const std::string& prompt) {
  constexpr std::size_t kLongest = 60;
  if (prompt.empty() || prompt.size() > kLongest) return "A continues:";
  return concat("A continues \"", printable(prompt), "\":");
}

std::string texts(const CompareReport& report) {
  const auto text = [](const ModelRuns& runs) {
    const auto& value = runs.first().at("text").get_ref<const std::string&>();
    return value.empty() ? "(no text)" : value;
  };
  const auto size = report.a.first().at("tokens").size();
  const auto same = common_tokens(report);
  const bool equal =
      report.a.first().at("tokens") == report.b.first().at("tokens");
  std::string second = "B, from the first token on:";
  if (same > 0) {
    second =
        concat("B, which parts from it after ", same, " of ", size, " tokens:");
  }
  if (equal) second = "B says the same.";
  auto all =
      concat(coloured(Colour::bold, title_of_answer(report.prompt)), '\n',
             text(report.a), "\n\n", coloured(Colour::bold, second), '\n');
  return equal ? all : concat(all, text(report.b), '\n');
}

std::string distance(const CompareReport& report) {
  const auto& c = report.comparison;
  const auto title =
      concat("B's predictions beside A's, over ", c.a.tokens, " tokens of ",
             printable(report.compared_text), ":");
  return concat(
      coloured(Colour::bold, title), '\n',
      format_table({{"KL(A || B), mean", format("%.5f nats", c.mean_kl)},
                    {"KL(A || B), largest", format("%.5f nats", c.max_kl)},
                    {"same likeliest token",
                     format("%.1f %%   ", 100 * c.top1_agreement)},
                    {"perplexity of A", format("%.4f     ", c.a.perplexity)},
                    {"perplexity of B", format("%.4f     ", c.b.perplexity)}}));
}

}  // namespace

double ModelRuns::median(const char* key) const {
  return spread_over(documents, key).median;
}

double ModelRuns::spread(const char* key) const {
  return spread_over(documents, key).relative();
}

std::optional<double> ratio(double a, double b) {
  if (a > 0 && b > 0) return b / a;
  return {};
}

std::size_t common_tokens(const CompareReport& report) {
  const auto& a = report.a.first().at("tokens");
  const auto& b = report.b.first().at("tokens");
  const auto parted = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(parted.first - a.begin());
}

Json to_json(const CompareReport& report) {
  const auto& c = report.comparison;
  Json json = {{"a", model_json(report.a, c.a)},
               {"b", model_json(report.b, c.b)},
               {"runs", report.a.documents.size()},
               {"prompt_ids", report.a.first().at("prompt_ids")},
               {"common_tokens", common_tokens(report)},
               {"comparison",
                {{"text", report.compared_text},
                 {"tokens", c.a.tokens},
                 {"mean_kl", c.mean_kl},
                 {"max_kl", c.max_kl},
                 {"top1_agreement", c.top1_agreement}}}};
  Json ratios;
  for (const char* key :
       {"disk_bytes", "bits_per_weight", "load_s", "prompt_tps",
        "generation_tps", "time_to_first_token_s", "peak_memory_bytes",
        "perplexity"}) {
    const auto value = ratio(json["a"][key], json["b"][key]);
    ratios[key] = value ? Json(*value) : Json(nullptr);
  }
  json["ratios"] = ratios;
  return json;
}

std::string format_report(const CompareReport& report) {
  return concat(facts_table(report), '\n', spread_line(report), "\n\n",
                texts(report), '\n', distance(report));
}

}  // namespace llamlx
