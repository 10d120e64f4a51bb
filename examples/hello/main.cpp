// Generates a few words with the model folder named on the command line.
#include <iostream>

#include <llamlx/llamlx.h>

int main(int argc, char** argv) try {
  const auto model = llamlx::Model::load(argc > 1 ? argv[1] : "mlx_model");
  model.generate("A great hobby to have is", {.max_tokens = 30},
                 [](const llamlx::Delta& delta) {
                   std::cout << delta.text << std::flush;
                   return true;
                 });
  std::cout << '\n';
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
