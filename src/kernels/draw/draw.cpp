#include "kernels/draw/draw.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/random.h>
#include <mlx/utils.h>

#include "cpu/vector/vector.h"
#include "kernels/argmax/argmax.h"
#include "kernels/cpu/rows_of.h"
#include "kernels/cuda/choose.h"

namespace llamlx {
namespace {

class DrawPrimitive final : public mx::UnaryPrimitive {
 public:
  DrawPrimitive(mx::Stream stream, float factor, std::vector<double> uniform)
      : UnaryPrimitive(stream), factor_(factor), uniform_(std::move(uniform)) {}

  const char* name() const override { return "Draw"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [x = inputs[0], factor = factor_, uniform = uniform_,
         indices = out.data<std::int32_t>()] {
          const int size = x.shape(1);
          const auto values = rows_of<float>(x);
          const auto* row = values.data();
          for (std::size_t i = 0; i < uniform.size(); ++i, row += size) {
            // -1, where values are not finite, is kNotFinite.
            indices[i] = vector_kernels().draw(row, size, factor, uniform[i]);
          }
        });
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::invalid_argument("this draw runs on the CPU alone");
  }

 private:
  float factor_;
  std::vector<double> uniform_;
};

}  // namespace

mx::array draw_cpu(const mx::array& x, float temperature,
                   std::vector<double> uniform) {
  // Of the smallest temperatures the inverse is infinite, and 0 times it NaN.
  const float factor =
      std::min(1 / temperature, std::numeric_limits<float>::max());
  return {mx::Shape{x.shape(0)},
          mx::int32,
          std::make_shared<DrawPrimitive>(mx::default_stream(mx::Device::cpu),
                                          factor, std::move(uniform)),
          {x}};
}

std::optional<mx::array> draw_on_gpu(const mx::array& x, float temperature,
                                     std::uint64_t key) {
  return choose_on_gpu(x, temperature, key);
}

mx::array draw_mlx(const mx::array& x, float temperature,
                   const mx::array& key) {
  const auto scaled = mx::divide(x, mx::array(temperature));
  const auto drawn = mx::random::categorical(scaled, -1, key);
  const auto likeliest = llamlx::argmax(x);
  const auto is_lost = mx::equal(likeliest, mx::array(kNotFinite));
  return mx::where(is_lost, likeliest, mx::astype(drawn, mx::int32));
}

}  // namespace llamlx
