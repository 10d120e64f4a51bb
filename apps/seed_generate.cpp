#include "seed_generate.h"

#include <algorithm>
#include <csignal>

#include <unistd.h>

#include "answer_output.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "few_shot.h"
#include "interrupt.h"
#include "line_input.h"
#include "seed_screens.h"
#include "terminal.h"

namespace llamlx {
namespace {

/// llama.py puts a BOS before the tokens of the text, whatever the tokenizer
/// would.
std::vector<std::int32_t> encode(const Model& model, const std::string& text) {
  auto ids = model.encode(text, /*add_special_tokens=*/false);
  if (const auto bos = model.info().bos_id) ids.insert(ids.begin(), *bos);
  return ids;
}

GenerateOptions seed_options(const GenerateArguments& arguments) {
  auto options = arguments.options;
  options.max_tokens = std::max(options.max_tokens, 1);
  options.ignore_eos = true;
  return options;
}

void continue_prompt(const GenerateArguments& arguments, const Model& model) {
  print(seed::kPause);
  if (!read_line()) {
    fail(ErrorCode::io_error, "standard input",
         "ended where a line was expected", "press Enter to start");
  }
  print(seed::kRule);
  print(arguments.prompt + "\n");
  const InterruptGuard guard;
  TextPrinter printer(arguments.write_every);
  const auto result =
      model.generate(encode(model, arguments.prompt), seed_options(arguments),
                     [&](const Delta& delta) {
                       printer.add(delta);
                       return guard.signal() == 0;
                     });
  printer.finish();
  guard.check();
  print(seed::kRule);
  print(seed::timings(result));
}

void answer(const GenerateArguments& arguments, const Model& model,
            const std::string& text) {
  const InterruptGuard guard;
  const auto options = seed_options(arguments);
  seed::FewShotAnswer answer(options.max_tokens, model.info().eos_ids);
  model.generate(encode(model, text), options, [&](const Delta& delta) {
    print(answer.add(delta));
    return guard.signal() == 0 && !answer.ended();
  });
  print(answer.finish());
  print("\n");
  if (!(can_ask() && guard.signal() == SIGINT)) guard.check();
}

void answer_questions(const GenerateArguments& arguments, const Model& model,
                      const FewShotPrompt& prompt) {
  print(seed::loading_examples(arguments.few_shot));
  while (true) {
    print(seed::kQuestion);
    const auto question = read_line();
    if (!question) break;
    answer(arguments, model, prompt.fill(*question));
  }
  // The cursor stands behind the question; a file is left as it is.
  if (is_terminal(STDOUT_FILENO)) print("\n");
}

}  // namespace

void run_seed_generate(const GenerateArguments& arguments) {
  const bool few_shot = !arguments.few_shot.empty();
  const auto prompt =
      few_shot ? FewShotPrompt::read(arguments.few_shot) : FewShotPrompt("");
  const auto checkpoint = Checkpoint::open(arguments.model.model_path);
  print(seed::loading_model(checkpoint->weight_files()));
  const auto model =
      load_model(arguments.model, /*quiet=*/true, arguments.expected_tokens());
  if (few_shot) {
    answer_questions(arguments, model, prompt);
  } else {
    continue_prompt(arguments, model);
  }
}

}  // namespace llamlx
