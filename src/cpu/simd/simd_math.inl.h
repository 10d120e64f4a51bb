#pragma once

// Functions over struct Simd, which the file that includes this one has
// included before. See src/cpu/README.md.

namespace llamlx {
namespace {

/// e to the power of each lane, within 2 ulp in [-87.3, 88]. Below -87.7 it is
/// 0, so that no subnormal number slows down what follows; above 88.4 it is
/// infinity; NaN stays NaN.
inline Simd::F exp(Simd::F x) {
  // A constant comes first: max and min of a NaN are their second operand.
  const Simd::F bounded =
      Simd::min(Simd::set1(88.8f), Simd::max(Simd::set1(-88.1f), x));
  const Simd::F n =
      Simd::round(Simd::mul(bounded, Simd::set1(1.44269504f)));  // 1 / ln 2
  // ln 2 in two parts, of which n times the first is exact even without FMA.
  Simd::F r = Simd::fma(n, Simd::set1(-0.693359375f), bounded);
  r = Simd::fma(n, Simd::set1(2.12194440e-4f), r);
  // e^r = 1 + r + r^2 p(r), |r| <= ln 2 / 2; p has the smallest relative error
  // for its degree, 3.1e-9.
  Simd::F p = Simd::set1(0.001381432f);
  p = Simd::fma(p, r, Simd::set1(0.008368852f));
  p = Simd::fma(p, r, Simd::set1(0.0416684f));
  p = Simd::fma(p, r, Simd::set1(0.1666652f));
  p = Simd::fma(p, r, Simd::set1(0.49999994f));
  p = Simd::fma(p, Simd::mul(r, r), r);
  return Simd::mul(Simd::add(p, Simd::set1(1)), Simd::pow2(n));
}

}  // namespace
}  // namespace llamlx
