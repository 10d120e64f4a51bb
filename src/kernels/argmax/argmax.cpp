#include "kernels/argmax/argmax.h"

#include <stdexcept>

#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/utils.h>

#include "cpu/vector/vector.h"
#include "kernels/cpu/rows_of.h"
#include "kernels/cuda/choose.h"

namespace llamlx {
namespace {

class ArgmaxPrimitive final : public mx::UnaryPrimitive {
 public:
  using UnaryPrimitive::UnaryPrimitive;

  const char* name() const override { return "ArgmaxFinite"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [x = inputs[0], indices = out.data<std::int32_t>()] {
          const int size = x.shape(1);
          const auto values = rows_of<float>(x);
          for (int row = 0; row < x.shape(0); ++row) {
            const auto at = static_cast<std::ptrdiff_t>(row) * size;
            // -1, for no finite largest, is kNotFinite.
            indices[row] = vector_kernels().argmax(values.data() + at, size);
          }
        });
  }

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::invalid_argument("this argmax runs on the CPU alone");
  }
};

mx::array argmax_mlx(const mx::array& x) {
  const auto finite = mx::all(mx::isfinite(x), -1);
  return mx::where(finite, mx::astype(mx::argmax(x, -1), mx::int32),
                   mx::array(kNotFinite));
}

}  // namespace

mx::array argmax(const mx::array& x) {
  if (auto tokens = choose_on_gpu(x)) return *std::move(tokens);
  if (mx::default_device() != mx::Device::cpu) return argmax_mlx(x);
  return {
      mx::Shape{x.shape(0)},
      mx::int32,
      std::make_shared<ArgmaxPrimitive>(mx::default_stream(mx::Device::cpu)),
      {x}};
}

}  // namespace llamlx
