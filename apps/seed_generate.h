#pragma once

#include "generate_arguments.h"

namespace llamlx {

/// Does what llama.py does, with its screen on standard output. Differences:
/// characters are written when whole, and the end of standard input where a
/// question is asked ends the program without an error.
/// Errors: Error (io_error) when standard input ends at the pause.
void run_seed_generate(const GenerateArguments& arguments);

}  // namespace llamlx
