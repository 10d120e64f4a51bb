#include "answer_output.h"

#include <cstdio>

#include "base/concat.h"
#include "base/human_size.h"
#include "terminal.h"

namespace llamlx {
namespace {

std::string explain(const Result& result) {
  switch (result.finish_reason) {
    case FinishReason::stop:
      return result.stop_text.empty()
                 ? "the model ended the text"
                 : concat("stopped at \"", printable(result.stop_text), '"');
    case FinishReason::length:
      return "stopped by the length limit";
    case FinishReason::cancelled:
      return "interrupted";
  }
  return "";
}

}  // namespace

void TextPrinter::add(const Delta& delta) {
  held_ += delta.text;
  if (delta.token && ++tokens_ % write_every_ != 0) return;
  flush();
}

void TextPrinter::finish() {
  flush();
  print("\n");
}

void TextPrinter::flush() {
  if (!held_.empty()) print(held_);
  held_.clear();
}

Json to_json(const Result& result, const ModelInfo& info) {
  return {{"prompt_ids", result.prompt_ids},
          {"tokens", result.tokens},
          {"text", result.text},
          {"finish_reason", to_string(result.finish_reason)},
          {"stop_text", result.stop_text},
          {"prompt_tps", result.prompt_tps},
          {"generation_tps", result.generation_tps},
          {"time_to_first_token_s", result.time_to_first_token_s},
          {"total_s", result.total_s},
          {"peak_memory_bytes", result.peak_memory_bytes},
          {"dtype", info.dtype},
          {"device", info.device},
          {"kernels", info.kernels},
          {"kv_bits", info.kv_bits}};
}

void print_summary(const Result& result) {
  char line[256];
  std::snprintf(line, sizeof(line),
                "[INFO] Prompt: %zu tokens, %.1f tok/s, first token after "
                "%.3f s. Generation: %zu tokens, %.1f tok/s, %.3f s in all; ",
                result.prompt_ids.size(), result.prompt_tps,
                result.time_to_first_token_s, result.tokens.size(),
                result.generation_tps, result.total_s);
  print_note(concat(line, explain(result),
                    ". Peak memory: ", human_size(result.peak_memory_bytes)));
}

}  // namespace llamlx
