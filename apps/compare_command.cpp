#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include "base/concat.h"
#include "child_process.h"
#include "commands.h"
#include "compare_report.h"
#include "generate/compare.h"
#include "generate/loaded_model.h"
#include "json_output.h"
#include "model_options.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx compare my-model-bf16 my-model-4bit \
      --prompt "A great hobby to have is" -m 60
      what quantising gains and what it costs
  llamlx compare model.gguf my-model-4bit --text-file corpus.txt --runs 5
      how far the predictions are apart over a text of yours
  llamlx compare bf16 4bit --json > report.json
      a document with a and b (path, format, quantization, parameters,
      disk_bytes, bits_per_weight, load_s, prompt_tps, generation_tps,
      time_to_first_token_s, peak_memory_bytes, text, tokens, perplexity,
      mean_nll, and runs: what each run measured), ratios (b over a) and
      comparison (tokens, mean_kl, max_kl, top1_agreement)

Each run is a process of its own, A and B in turn, so that memory and speed are
those of one model alone. Then both read one text, token by token: KL(A || B) is
how many nats B's next-token distributions are off from A's, 0 for equal ones.)";

struct CompareArguments {
  std::string a, b;
  ModelArguments compute;  // but for the path
  std::string prompt = "In the beginning the Universe was created.";
  std::string prompt_ids;
  std::string text_file;
  int max_tokens = 100;
  SamplingOptions sampling;
  int runs = 3;
  bool json = false;
};

void note(const CompareArguments& arguments, const std::string& text) {
  if (!arguments.json) print_note(concat("[INFO] ", text));
}

std::vector<std::string> generate_command(const CompareArguments& arguments,
                                          const std::string& model) {
  char temperature[32];
  std::snprintf(temperature, sizeof(temperature), "%.9g",
                static_cast<double>(arguments.sampling.temperature));
  std::vector<std::string> command = {
      "generate",
      "--json",
      concat("--model-path=", model),
      concat("--max-tokens=", arguments.max_tokens),
      concat("--temp=", temperature),
      concat("--seed=", arguments.sampling.seed),
      arguments.prompt_ids.empty()
          ? std::string("--prompt=-")
          : concat("--prompt-ids=", arguments.prompt_ids)};
  const auto& [path, dtype, device, threads, kv_bits] = arguments.compute;
  if (!dtype.empty()) command.push_back(concat("--dtype=", dtype));
  if (!device.empty()) command.push_back(concat("--device=", device));
  if (threads > 0) command.push_back(concat("--threads=", threads));
  if (kv_bits > 0) command.push_back(concat("--kv-bits=", kv_bits));
  return command;
}

/// The last line of what a run said, without the program's name.
std::string last_line(std::string errors) {
  while (errors.ends_with('\n')) errors.pop_back();
  errors.erase(0, errors.rfind('\n') + 1);
  constexpr std::string_view kName = "llamlx: ";
  if (errors.starts_with(kName)) errors.erase(0, kName.size());
  return errors;
}

Json run_model(const CompareArguments& arguments, const std::string& model,
               const InterruptGuard& guard) {
  const auto run =
      run_self(generate_command(arguments, model), arguments.prompt, guard);
  if (run.signal != 0) {
    throw std::runtime_error(
        concat(model, ": its run was ended by signal ", run.signal,
               "; if that was for lack of memory, quantise it to fewer bits"));
  }
  if (run.status == 2) throw std::invalid_argument(last_line(run.errors));
  if (run.status != 0) throw std::runtime_error(last_line(run.errors));
  return parse_json_object(run.output, concat("the run of ", model));
}

/// Fails before minutes of runs where the models cannot be compared.
void check_comparable(const CompareReport& report) {
  const auto tokenizer_of = [](const ModelRuns& runs) {
    return load_tokenizer(*Checkpoint::open(runs.facts.path));
  };
  const auto a = tokenizer_of(report.a), b = tokenizer_of(report.b);
  if (a && b) check_same_vocabulary(*a, *b);
  check_same_vocabulary_size(report.a.facts.config.vocab_size,
                             report.b.facts.config.vocab_size);
}

void measure(const CompareArguments& arguments, CompareReport& report) {
  const InterruptGuard guard;
  for (int run = 1; run <= arguments.runs; ++run) {
    for (auto* model : {&report.a, &report.b}) {
      note(arguments, concat("Run ", run, " of ", arguments.runs, ": ",
                             model == &report.a ? "A, " : "B, ",
                             printable(model->facts.path)));
      model->documents.push_back(
          run_model(arguments, model->facts.path, guard));
    }
  }
  if (report.a.first().at("prompt_ids") != report.b.first().at("prompt_ids")) {
    print_note("[NOTE] the tokenizers of A and B cut the prompt differently");
  }
}

/// The ids both models read.
std::vector<std::int32_t> ids_to_read(const CompareArguments& arguments,
                                      const std::string& text, const Model& a,
                                      const Json& first_run) {
  if (!arguments.text_file.empty()) return a.encode(text);
  auto ids = first_run.at("prompt_ids").get<std::vector<std::int32_t>>();
  const auto answer = first_run.at("tokens").get<std::vector<std::int32_t>>();
  ids.insert(ids.end(), answer.begin(), answer.end());
  return ids;
}

void compare_predictions(const CompareArguments& arguments,
                         const std::string& text, CompareReport& report) {
  const auto load = [&](const ModelRuns& runs) {
    auto model = arguments.compute;
    model.model_path = runs.facts.path;
    return load_model(model, /*quiet=*/true);
  };
  const auto a = load(report.a), b = load(report.b);
  const auto ids = ids_to_read(arguments, text, a, report.a.first());
  if (ids.size() < 2) {
    throw std::invalid_argument(
        "the text to compare has fewer than two tokens; give --text-file");
  }
  note(arguments,
       concat("Comparing the predictions of A and B over ", ids.size() - 1,
              " tokens of ", printable(report.compared_text)));
  report.comparison = a.compare(b, ids);
}

void run_compare(CompareArguments arguments) {
  if (arguments.b.empty()) {
    throw std::invalid_argument(
        "two models are wanted: llamlx compare A B; see \"llamlx compare "
        "--help\"");
  }
  const bool has_text = !arguments.text_file.empty();
  if (arguments.prompt == "-" && arguments.text_file == "-") {
    throw std::invalid_argument(
        "--prompt - and --text-file - cannot both read standard input");
  }
  if (arguments.prompt == "-") arguments.prompt = read_text("-");
  const auto text = has_text ? read_text(arguments.text_file) : std::string();
  CompareReport report;
  if (arguments.prompt_ids.empty()) report.prompt = arguments.prompt;
  report.compared_text =
      has_text ? arguments.text_file : "the prompt and A's answer";
  report.a.facts = read_model_facts(arguments.a);
  report.b.facts = read_model_facts(arguments.b);
  check_comparable(report);
  measure(arguments, report);
  compare_predictions(arguments, text, report);
  if (arguments.json) {
    print_json(to_json(report));
  } else {
    print(format_report(report));
  }
}

}  // namespace

void add_compare(CLI::App& app) {
  auto* command =
      add_command(app, "compare", "Measure two models side by side", kExamples);
  const auto arguments = std::make_shared<CompareArguments>();
  command->add_option("A", arguments->a, "Folder of a model, or a GGUF file")
      ->type_name("PATH");
  command->add_option("B", arguments->b, "The model to compare with it")
      ->type_name("PATH");
  auto* prompt = command->add_option("--prompt,-p", arguments->prompt,
                                     "The text both continue; \"-\" reads it "
                                     "from standard input");
  command
      ->add_option("--prompt-ids", arguments->prompt_ids,
                   "The text both continue, as token ids: 1,5,9")
      ->check(not_empty())
      ->excludes(prompt);
  command
      ->add_option("--text-file", arguments->text_file,
                   "The text to compare predictions on (default: the prompt "
                   "and A's answer); \"-\" reads standard input")
      ->type_name("FILE");
  command
      ->add_option("--max-tokens,-m,-n", arguments->max_tokens,
                   "How many tokens each generates at most")
      ->check(at_least(0));
  command
      ->add_option("--temp,--temperature", arguments->sampling.temperature,
                   "Sampling temperature; 0 takes the likeliest token")
      ->check(at_least(0));
  command
      ->add_option("--seed", arguments->sampling.seed,
                   "Seed of the random draws")
      ->check(whole_number());
  command
      ->add_option("--runs", arguments->runs,
                   "How often to measure each; medians are shown")
      ->check(at_least(1));
  add_compute_options(*command, arguments->compute);
  add_threads_option(*command, arguments->compute);
  command->add_flag("--json", arguments->json,
                    "Report on standard output as JSON");
  command->callback([arguments] { run_compare(*arguments); });
}

}  // namespace llamlx
