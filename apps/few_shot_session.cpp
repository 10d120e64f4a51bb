#include "few_shot_session.h"

#include <csignal>

#include "answer_output.h"
#include "base/concat.h"
#include "few_shot.h"
#include "interrupt.h"
#include "json_output.h"
#include "line_input.h"
#include "seed_screens.h"
#include "terminal.h"

namespace llamlx {
namespace {

class Session {
 public:
  Session(const GenerateArguments& arguments, const Model& model,
          const FewShotPrompt& prompt)
      : arguments_(arguments),
        model_(model),
        prompt_(prompt),
        options_(arguments.options),
        interactive_(arguments.questions.empty() && can_ask()) {
    options_.stop.insert(options_.stop.begin(), kFewShotStop);
  }

  void answer(const std::string& question) const {
    const InterruptGuard guard;
    TextPrinter printer(arguments_.write_every);
    const auto result = model_.generate(prompt_.fill(question), options_,
                                        [&](const Delta& delta) {
                                          if (!arguments_.json) {
                                            printer.add(delta);
                                          }
                                          return guard.signal() == 0;
                                        });
    if (arguments_.json) {
      auto document = to_json(result, model_.info());
      document["question"] = question;
      print_json_line(document);
    } else {
      printer.finish();
      print_summary(result);
    }
    // Whoever sits in front of it may want to ask something else.
    if (!(interactive_ && guard.signal() == SIGINT)) guard.check();
  }

 private:
  const GenerateArguments& arguments_;
  const Model& model_;
  const FewShotPrompt& prompt_;
  GenerateOptions options_;
  bool interactive_;
};

}  // namespace

void run_few_shot(const GenerateArguments& arguments) {
  if (arguments.few_shot == "-" && arguments.questions.empty()) {
    throw std::invalid_argument(
        "standard input cannot hold both the examples and the questions: give "
        "--question");
  }
  const auto prompt = FewShotPrompt::read(arguments.few_shot);
  const auto model =
      load_model(arguments.model, arguments.json, arguments.expected_tokens());
  if (!arguments.json) {
    print_note(concat("[INFO] Loading few-shot examples from: ",
                      printable(arguments.few_shot)));
  }
  if (!prompt.has_place()) {
    print_note(concat("[NOTE] ", printable(arguments.few_shot),
                      " holds no {}, so questions have no place in it"));
  }
  const Session session(arguments, model, prompt);
  for (const auto& question : arguments.questions) session.answer(question);
  if (!arguments.questions.empty()) return;
  while (const auto question = ask(seed::kQuestion)) session.answer(*question);
}

}  // namespace llamlx
