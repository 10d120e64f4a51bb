#include "cpu/vector/vector.h"

#include <cmath>

namespace llamlx {

extern const VectorKernels kVectorScalar;
extern const VectorKernels kVectorAvx2;
extern const VectorKernels kVectorAvx512;
extern const VectorKernels kVectorNeon;

std::vector<const VectorKernels*> all_vector_kernels() {
#if defined(__x86_64__)
  return {&kVectorScalar, &kVectorAvx2, &kVectorAvx512};
#elif defined(__aarch64__)
  return {&kVectorScalar, &kVectorNeon};
#else
  return {&kVectorScalar};
#endif
}

const VectorKernels& vector_kernels() {
  static const VectorKernels& best = [&]() -> const VectorKernels& {
    const VectorKernels* last = &kVectorScalar;
    for (const auto* kernels : all_vector_kernels()) {
      if (kernels->isa <= active_isa()) last = kernels;
    }
    return *last;
  }();
  return best;
}

void rope_table(double position, const float* periods, int pairs, float scale,
                float* cos, float* sin) {
  for (int i = 0; i < pairs; ++i) {
    const double angle = position / static_cast<double>(periods[i]);
    cos[i] = static_cast<float>(std::cos(angle) * scale);
    sin[i] = static_cast<float>(std::sin(angle) * scale);
  }
}

}  // namespace llamlx
