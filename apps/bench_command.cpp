#include <cerrno>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/files.h"
#include "bench/bench_report.h"
#include "bench/picture.h"
#include "commands.h"
#include "json_output.h"
#include "model_options.h"
#include "table.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx bench my-model-4bit
      tokens a second: 512 of a prompt (pp512), 128 of an answer (tg128)
  llamlx bench my-model-4bit -p 0 -n 64 -d 0,2048,8192 -t 1,2
      answers after 0, 2048 and 8192 tokens, with one thread and with two
  llamlx bench my-model-4bit -p 0 -b 1,4,16
      1, 4 and 16 answers together
  llamlx bench my-model-4bit --plot bench.svg
      a picture: speed beside the machine's limits, processors, memory and GPU
  llamlx bench --limits
      how fast this machine reads memory and multiplies; needs no model
  llamlx bench my-model-4bit --json > bench.json
      a document with model, machine (cpu, cores, threads, isa, limits:
      read_bandwidth and peaks; gpu, with its own), results (test, prompt,
      generate, depth, batch, threads, repetitions, temperature,
      tokens_per_second with median, min and max, ms_per_token,
      bytes_per_token, flops_per_token, gb_per_s, gflops,
      fraction_of_bandwidth, fraction_of_peak, peak_unit, limit,
      peak_memory_bytes, gpu: busy_percent, memory_bytes and watts meanwhile),
      and with --plot activity (seconds, gauges, spans); --csv has results in a
      line a test

All combinations of the lists are measured; 0 leaves prompts or answers out.
MB/tok is what has to be moved at least: weights, once for all tokens that pass
together, and keys and values. "of limit" is the share of the speed at which
this machine, or the GPU where it computes, reads as much; "of peak" that of its
fastest unit for the type.)";

struct BenchArguments {
  ModelArguments model{.model_path = ""};
  std::string prompts = "512";
  std::string generates = "128";
  std::string depths = "0";
  std::string threads = "0";
  std::string batches = "1";
  int repetitions = 5;
  float temperature = 0;
  std::uint64_t seed = 0;
  bool limits = false;
  bool json = false;
  bool csv = false;
  bool markdown = false;
  std::string plot;
};

BenchOptions bench_options(const BenchArguments& arguments) {
  BenchOptions options;
  options.prompts = parse_list(arguments.prompts, "prompt tokens (-p)");
  options.generates = parse_list(arguments.generates, "generated tokens (-n)");
  options.depths = parse_list(arguments.depths, "depths (-d)");
  options.threads = parse_list(arguments.threads, "threads (-t)");
  options.batches = parse_list(arguments.batches, "batches (-b)");
  options.repetitions = arguments.repetitions;
  options.temperature = arguments.temperature;
  options.seed = arguments.seed;
  options.usual_limits = arguments.limits;
  options.record_activity = !arguments.plot.empty();
  return options;
}

BenchReport measure(const BenchArguments& arguments,
                    const BenchOptions& options) {
  ProgressBar bar("bench:");
  const auto tell = [&](const BenchProgress& progress) {
    bar.update(progress.label, progress.share);
  };
  if (arguments.model.model_path.empty() && arguments.limits) {
    return run_limits(options.threads, load_options(arguments.model).device,
                      tell);
  }
  const auto path = arguments.model.model_path.empty()
                        ? ModelArguments().model_path
                        : arguments.model.model_path;
  return run_bench(path, load_options(arguments.model), options, tell);
}

/// Fails before minutes of measuring where the picture has no place.
void check_writable(const std::filesystem::path& file) {
  const auto folder = file.has_parent_path() ? file.parent_path() : ".";
  const bool exists = std::filesystem::exists(file);
  const auto& target = exists ? file : folder;
  if (std::filesystem::is_directory(file) ||
      ::access(target.c_str(), W_OK) != 0) {
    fail_errno(exists ? EACCES : errno, file, "write");
  }
}

std::string limits_text(const MachineLimits& machine) {
  return concat(format_table(bandwidth_table(machine)), '\n',
                format_table(peaks_table(machine)));
}

void print_report(const BenchArguments& arguments, const BenchReport& report) {
  if (arguments.json) return print_json(to_json(report));
  if (arguments.csv) return print(to_csv(results_numbers(report)));
  if (arguments.markdown) {
    return print(concat(model_line(report), "; ", machine_line(report.machine),
                        "\n\n", to_markdown(results_table(report))));
  }
  std::string text = concat(machine_line(report.machine), '\n');
  if (!report.path.empty()) {
    text = concat(printable(model_line(report)), '\n', text, '\n',
                  format_table(results_table(report)));
  }
  if (arguments.limits) text += concat('\n', limits_text(report.machine));
  print(text);
}

void run_bench_command(const BenchArguments& arguments) {
  const auto options = bench_options(arguments);
  tests_of(options);
  const bool has_model = !arguments.model.model_path.empty();
  if (arguments.limits && !has_model &&
      (arguments.csv || arguments.markdown || !arguments.plot.empty())) {
    throw std::invalid_argument(
        "--limits without a model goes with --json alone; see \"llamlx bench "
        "--help\"");
  }
  if (!arguments.plot.empty()) check_writable(arguments.plot);
  const auto report = measure(arguments, options);
  if (!arguments.json) {
    for (const auto& notice : report.notices) {
      print_note(concat("[NOTE] ", printable(notice)));
    }
  }
  if (!arguments.plot.empty()) {
    write_file(arguments.plot, draw_picture(report));
  }
  print_report(arguments, report);
}

void add_list(CLI::App& command, const char* names, std::string& list,
              const char* description) {
  command.add_option(names, list, description)->type_name("LIST");
}

void add_output_options(CLI::App& command, BenchArguments& arguments) {
  auto* json = command.add_flag("--json", arguments.json,
                                "Report on standard output as JSON");
  auto* csv =
      command.add_flag("--csv", arguments.csv, "A line a test, for programs")
          ->excludes(json);
  command
      .add_flag("--markdown,--md", arguments.markdown,
                "The table as GitHub shows it")
      ->excludes(json)
      ->excludes(csv);
  command
      .add_option(
          "--plot", arguments.plot,
          "Draw speeds, limits, processors, memory and GPU into this SVG")
      ->type_name("FILE")
      ->check(not_empty());
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* command = add_command(
      app, "bench", "Measure a model's speed beside this machine's limits",
      kExamples);
  const auto arguments = std::make_shared<BenchArguments>();
  command
      ->add_option("MODEL,--model-path,--model,-m", arguments->model.model_path,
                   "Folder of a model, or a GGUF file (default: mlx_model)")
      ->type_name("PATH")
      ->default_str("");
  add_list(*command, "-p,--n-prompt", arguments->prompts, "Tokens of prompts");
  add_list(*command, "-n,--n-gen", arguments->generates, "Tokens of answers");
  add_list(*command, "-d,--n-depth", arguments->depths,
           "Tokens that come before, in the cache");
  add_list(*command, "-b,--batch", arguments->batches,
           "Answers that are written together");
  add_list(*command, "-t,--threads", arguments->threads,
           "Threads; 0: as many as this process may keep busy");
  command
      ->add_option("-r,--repetitions", arguments->repetitions,
                   "How often to measure each; medians are shown")
      ->check(at_least(1));
  command
      ->add_option("--temp,--temperature", arguments->temperature,
                   "Sampling temperature; 0 takes the likeliest token")
      ->check(at_least(0));
  command->add_option("--seed", arguments->seed, "Seed of the prompts' tokens")
      ->check(whole_number());
  add_compute_options(*command, arguments->model);
  command->add_flag("--limits", arguments->limits,
                    "Show the machine's limits, too; alone without a MODEL");
  add_output_options(*command, *arguments);
  command->callback([arguments] { run_bench_command(*arguments); });
}

}  // namespace llamlx
