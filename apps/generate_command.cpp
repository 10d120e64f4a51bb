#include <cstdio>
#include <memory>
#include <string>

#include <unistd.h>

#include "base/concat.h"
#include "base/files.h"
#include "base/human_size.h"
#include "commands.h"
#include "interrupt.h"
#include "json_output.h"
#include "model_options.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx generate --prompt "A great hobby to have is" -m 30
      continue a text with the model in mlx_model
  llamlx generate --model-path smollm2 --temp 0.8 --seed 7 -m 200
      draw from the distribution; another seed gives another text
  cat story.txt | llamlx generate --model-path smollm2 --prompt - > more.txt
      from a pipe to a file
  llamlx generate --model-path smollm2 --prompt-ids 1,5,9 -m 8 --json
      token ids in, one JSON document out

The text goes to standard output, everything else to standard error.)";

struct GenerateArguments {
  ModelArguments model;
  std::string prompt = "In the beginning the Universe was created.";
  std::string prompt_ids;
  GenerateOptions options;
  int write_every = 1;
  bool json = false;
  std::string stats;
};

/// Prints text as it comes, every `write_every` tokens.
class TextPrinter {
 public:
  explicit TextPrinter(int write_every) : write_every_(write_every) {}

  void add(const Delta& delta) {
    held_ += delta.text;
    if (delta.token && ++tokens_ % write_every_ != 0) return;
    flush();
  }

  void finish() {
    flush();
    print("\n");
  }

 private:
  void flush() {
    if (!held_.empty()) print(held_);
    held_.clear();
  }

  int write_every_;
  int tokens_ = 0;
  std::string held_;
};

Json to_json(const Result& result, const ModelInfo& info) {
  return {{"prompt_ids", result.prompt_ids},
          {"tokens", result.tokens},
          {"text", result.text},
          {"finish_reason", to_string(result.finish_reason)},
          {"prompt_tps", result.prompt_tps},
          {"generation_tps", result.generation_tps},
          {"time_to_first_token_s", result.time_to_first_token_s},
          {"peak_memory_bytes", result.peak_memory_bytes},
          {"dtype", info.dtype},
          {"device", info.device},
          {"kernels", info.kernels}};
}

const char* explain(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "the model ended the text";
    case FinishReason::length:
      return "stopped by the length limit";
    case FinishReason::cancelled:
      return "interrupted";
  }
  return "";
}

void print_summary(const Result& result) {
  char line[256];
  std::snprintf(line, sizeof(line),
                "[INFO] Prompt: %zu tokens, %.1f tok/s, first token after "
                "%.3f s. Generation: %zu tokens, %.1f tok/s; %s. Peak memory: ",
                result.prompt_ids.size(), result.prompt_tps,
                result.time_to_first_token_s, result.tokens.size(),
                result.generation_tps, explain(result.finish_reason));
  print_note(concat(line, human_size(result.peak_memory_bytes)));
}

/// The ids to continue, read before the model where that can be.
std::vector<std::int32_t> given_ids(const GenerateArguments& arguments) {
  return arguments.prompt_ids.empty() ? std::vector<std::int32_t>()
                                      : parse_ids(arguments.prompt_ids);
}

std::vector<std::int32_t> encode_prompt(const GenerateArguments& arguments,
                                        const Model& model) {
  return model.encode(arguments.prompt == "-" ? read_text("-")
                                              : arguments.prompt);
}

Result generate_text(const GenerateArguments& arguments, const Model& model,
                     const std::vector<std::int32_t>& ids,
                     const InterruptGuard& guard) {
  // On a screen the answer continues its question.
  if (!arguments.json && model.has_tokenizer() && is_terminal(STDOUT_FILENO)) {
    print(coloured(Colour::dim, model.decode(ids)));
  }
  TextPrinter printer(arguments.write_every);
  const auto result =
      model.generate(ids, arguments.options, [&](const Delta& delta) {
        if (!arguments.json) printer.add(delta);
        return guard.signal() == 0;
      });
  if (!arguments.json) printer.finish();
  return result;
}

void run_generate(const GenerateArguments& arguments) {
  auto ids = given_ids(arguments);
  const auto model = load_model(arguments.model, arguments.json);
  if (ids.empty()) ids = encode_prompt(arguments, model);
  const InterruptGuard guard;
  const auto result = generate_text(arguments, model, ids, guard);
  const auto document = to_json(result, model.info());
  if (arguments.json) {
    print_json(document);
  } else {
    print_summary(result);
  }
  if (!arguments.stats.empty()) {
    write_file(arguments.stats, document.dump(2) + "\n");
  }
  guard.check();
}

}  // namespace

void add_generate(CLI::App& app) {
  auto* command = add_command(app, "generate",
                              "Continue a text, token by token", kExamples);
  const auto arguments = std::make_shared<GenerateArguments>();
  auto& options = arguments->options;
  add_model_options(*command, arguments->model);
  auto* prompt = command->add_option("--prompt,-p", arguments->prompt,
                                     "The text to continue; \"-\" reads it "
                                     "from standard input");
  command
      ->add_option("--prompt-ids", arguments->prompt_ids,
                   "The text to continue, as token ids: 1,5,9")
      ->excludes(prompt);
  command
      ->add_option("--max-tokens,-m,-n", options.max_tokens,
                   "How many tokens to generate at most")
      ->check(at_least(0));
  command
      ->add_option("--write-every", arguments->write_every,
                   "After how many tokens to write the text")
      ->check(at_least(1));
  command
      ->add_option("--temp,--temperature", options.sampling.temperature,
                   "Sampling temperature; 0 takes the likeliest token")
      ->check(at_least(0));
  command->add_option("--seed", options.sampling.seed,
                      "Seed of the random draws");
  command->add_flag("--ignore-eos", options.ignore_eos,
                    "Go on after an end-of-sequence token");
  command->add_flag("--json", arguments->json,
                    "Report on standard output as JSON, text included");
  command->add_option("--stats", arguments->stats,
                      "Write the JSON report to this file, while the text "
                      "streams");
  command->callback([arguments] { run_generate(*arguments); });
}

}  // namespace llamlx
