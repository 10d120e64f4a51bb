#pragma once

#include "generate_arguments.h"

namespace llamlx {

/// Answers questions by the examples of a file: those of the command line, else
/// those of standard input, a line each, until it ends. With `json`, a document
/// a question, a line each.
void run_few_shot(const GenerateArguments& arguments);

}  // namespace llamlx
