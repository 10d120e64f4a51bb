#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "commands.h"
#include "json_output.h"
#include "model_options.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx perplexity --model-path smollm2 --text-file corpus.txt
      how well the model predicts a text; lower is better
  llamlx perplexity --model-path smollm2-4bit --text-file corpus.txt --json
      the same for programs: mean_nll (nats), perplexity, tokens
  llamlx perplexity --model-path smollm2 --ids 1,2,3
      of token ids as they are)";

struct PerplexityArguments {
  ModelArguments model;
  std::string text_file;
  std::string ids;
  bool json = false;
};

void run_perplexity(const PerplexityArguments& arguments) {
  if (arguments.text_file.empty() && arguments.ids.empty()) {
    throw std::invalid_argument(
        "a text is missing: give --text-file FILE or --ids 1,2,3");
  }
  std::vector<std::int32_t> ids;
  if (!arguments.ids.empty()) ids = parse_ids(arguments.ids);
  const auto model = load_model(arguments.model, arguments.json);
  if (ids.empty()) ids = model.encode(read_text(arguments.text_file));
  const auto score = model.score(ids);
  if (arguments.json) {
    print_json({{"mean_nll", score.mean_nll},
                {"perplexity", score.perplexity},
                {"tokens", score.tokens},
                {"dtype", model.info().dtype},
                {"device", model.info().device},
                {"kernels", model.info().kernels},
                {"kv_bits", model.info().kv_bits}});
    return;
  }
  char line[128];
  std::snprintf(line, sizeof(line),
                "perplexity %.4f (mean negative log likelihood %.5f nats) over "
                "%lld tokens\n",
                score.perplexity, score.mean_nll,
                static_cast<long long>(score.tokens));
  print(line);
}

}  // namespace

void add_perplexity(CLI::App& app) {
  auto* command = add_command(
      app, "perplexity", "Measure how well a model predicts a text", kExamples);
  const auto arguments = std::make_shared<PerplexityArguments>();
  add_model_options(*command, arguments->model);
  auto* text = command->add_option("--text-file", arguments->text_file,
                                   "The text; \"-\" reads standard input");
  command->add_option("--ids", arguments->ids, "Token ids: 1,2,3")
      ->check(not_empty())
      ->excludes(text);
  command->add_flag("--json", arguments->json,
                    "Report on standard output as JSON");
  command->callback([arguments] { run_perplexity(*arguments); });
}

}  // namespace llamlx
