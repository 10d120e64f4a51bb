#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include "answer_output.h"
#include "base/concat.h"
#include "base/files.h"
#include "commands.h"
#include "few_shot_session.h"
#include "generate_arguments.h"
#include "interrupt.h"
#include "json_output.h"
#include "line_input.h"
#include "seed_generate.h"
#include "seed_screens.h"
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
  llamlx generate --prompt "1, 2, 3," --stop " 7" --stop $'\n'
      end before whichever comes first
  llamlx generate --model-path smollm2 --prompt-ids 1,5,9 -m 8 --json
      token ids in, one JSON document out

Questions, answered by the examples of a file such as this one:
  [Instruction] What is the capital of France?
  [Answer] Paris.
  [Instruction] {}
  [Answer]
Every {} becomes the question; an answer ends before "[Instruction]".

  llamlx generate --few-shot examples.txt
      ask and answer; Ctrl-C ends an answer, Ctrl-D the program
  llamlx generate --few-shot examples.txt < questions.txt > answers.txt
      a question a line
  llamlx generate --few-shot examples.txt --question "Who are you?" --json
      one JSON document a question, a line each

  llamlx generate --compat seed --prompt "A great hobby to have is" -m 30
      the screen of MLX's llama.py, byte for byte

The text goes to standard output, everything else to standard error. Where both
input and screen are a terminal's, Enter starts the text, unless --no-wait.)";

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

/// As llama.py does, but only for someone who is there to press Enter, and
/// reads notes.
void wait_for_enter(const GenerateArguments& arguments) {
  if (arguments.no_wait || arguments.json || arguments.prompt == "-") return;
  if (can_ask() && is_terminal(STDERR_FILENO)) ask(seed::kPause);
}

void continue_prompt(const GenerateArguments& arguments) {
  auto ids = given_ids(arguments);
  const auto start = std::chrono::steady_clock::now();
  const auto model =
      load_model(arguments.model, arguments.json, arguments.expected_tokens());
  const std::chrono::duration<double> load_time =
      std::chrono::steady_clock::now() - start;
  if (ids.empty()) ids = encode_prompt(arguments, model);
  wait_for_enter(arguments);
  const InterruptGuard guard;
  const auto result = generate_text(arguments, model, ids, guard);
  auto document = to_json(result, model.info());
  document["load_s"] = load_time.count();
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

/// llama.py knows none of these.
void refuse_news(const CLI::App& command) {
  for (const char* name : {"--prompt-ids", "--question", "--stop",
                           "--ignore-eos", "--no-wait", "--json", "--stats"}) {
    if (command.count(name) == 0) continue;
    throw std::invalid_argument(concat("--compat seed cannot go with ", name,
                                       "; see \"llamlx generate --help\""));
  }
}

void run_generate(const CLI::App& command, const GenerateArguments& arguments) {
  if (!arguments.compat.empty()) {
    refuse_news(command);
    run_seed_generate(arguments);
  } else if (!arguments.few_shot.empty()) {
    run_few_shot(arguments);
  } else {
    continue_prompt(arguments);
  }
}

void add_prompt_options(CLI::App& command, GenerateArguments& arguments) {
  auto* prompt = command.add_option("--prompt,-p", arguments.prompt,
                                    "The text to continue; \"-\" reads it from "
                                    "standard input");
  auto* ids = command
                  .add_option("--prompt-ids", arguments.prompt_ids,
                              "The text to continue, as token ids: 1,5,9")
                  ->check(not_empty())
                  ->excludes(prompt);
  auto* few_shot =
      command
          .add_option("--few-shot", arguments.few_shot,
                      "Answer questions by the examples of this file; --prompt "
                      "does not count then")
          ->type_name("FILE")
          ->excludes(ids);
  command
      .add_option("--question", arguments.questions,
                  "Answer this and end; may be given again (default: ask on "
                  "the terminal, or read a question a line)")
      ->allow_extra_args(false)
      ->default_str("")
      ->needs(few_shot);
}

void add_sampling_options(CLI::App& command, GenerateArguments& arguments) {
  auto& options = arguments.options;
  command
      .add_option("--max-tokens,-m,-n", options.max_tokens,
                  "How many tokens to generate at most")
      ->check(at_least(0));
  command
      .add_option("--write-every", arguments.write_every,
                  "After how many tokens to write the text")
      ->check(at_least(1));
  command
      .add_option("--temp,--temperature", options.sampling.temperature,
                  "Sampling temperature; 0 takes the likeliest token")
      ->check(at_least(0));
  command
      .add_option("--seed", options.sampling.seed, "Seed of the random draws")
      ->check(whole_number());
  command
      .add_option("--stop", options.stop,
                  "End the text before this; may be given again")
      ->type_name("TEXT")
      ->check(CLI::Validator(
          [](const std::string& text) {
            return std::string(text.empty() ? "must not be empty" : "");
          },
          ""))
      ->allow_extra_args(false)
      ->default_str("");
  command.add_flag("--ignore-eos", options.ignore_eos,
                   "Go on after an end-of-sequence token");
}

void add_output_options(CLI::App& command, GenerateArguments& arguments) {
  command.add_flag("--no-wait", arguments.no_wait,
                   "Start at once on a terminal, too");
  command.add_flag("--json", arguments.json,
                   "Report on standard output as JSON, text included");
  command
      .add_option("--stats", arguments.stats,
                  "Write the JSON report to this file, while the text streams")
      ->type_name("FILE")
      ->excludes("--few-shot");
  command
      .add_option("--compat", arguments.compat,
                  "Print what MLX's llama.py prints, and never end the text of "
                  "a prompt at an end-of-sequence token")
      ->check(CLI::IsMember({"seed"}));
}

}  // namespace

void add_generate(CLI::App& app) {
  auto* command = add_command(app, "generate",
                              "Continue a text, token by token", kExamples);
  const auto arguments = std::make_shared<GenerateArguments>();
  add_model_options(*command, arguments->model);
  add_prompt_options(*command, *arguments);
  add_sampling_options(*command, *arguments);
  add_output_options(*command, *arguments);
  command->callback(
      [command, arguments] { run_generate(*command, *arguments); });
}

}  // namespace llamlx
