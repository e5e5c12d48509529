// exp and log on vectors, accurate to about one unit in the last place, with NaN passed through.
#pragma once

#include <cmath>

#include "simd.h"

namespace lcat {

// e^x for x up to about 88 (708 in double), which is all that a softmax asks for; exactly 0 far below zero, so
// that -infinity marks an absent edge. x = n log 2 + r with an integer n and |r| <= log(2) / 2; adding `magic`
// leaves n in the low bits of the sum, ready to become an exponent.
template <class V>
LCAT_INLINE V exponential_of_floats(V x) {
  constexpr float lowest = -87.33f, magic = 12582912.0f;  // 1.5 * 2^23
  const V bounded = larger(splat<kLanes<V>>(lowest), x);
  const V shifted = bounded * 1.44269504088896341f + magic;
  const V n = shifted - magic;
  const V r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const V power = (V)(((Ints<V>)shifted << 23) + 0x3f800000);
  const V result = p * power;
  return x < lowest ? V{} : result;
}

template <class V>
LCAT_INLINE V exponential_of_doubles(V x) {
  constexpr double lowest = -708.0, magic = 6755399441055744.0;  // 1.5 * 2^52
  const V bounded = larger(splat<kLanes<V>>(lowest), x);
  const V shifted = bounded * 1.4426950408889634074 + magic;
  const V n = shifted - magic;
  const V r = (bounded - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
  // Taylor's series: the first term left out is below 5e-18.
  V p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * (r * r) + r + 1.0;
  const V power = (V)(((Ints<V>)shifted << 52) + int64_t(0x3ff0000000000000));
  const V result = p * power;
  return x < lowest ? V{} : result;
}

template <class V>
LCAT_INLINE V exponential(V x) {
  if constexpr (std::is_arithmetic_v<V>) {
    return exponential(splat<4>(x))[0];
  } else if constexpr (std::is_same_v<Scalar<V>, float>) {
    return exponential_of_floats(x);
  } else {
    return exponential_of_doubles(x);
  }
}

// log(x) of four positive, finite numbers; NaN and infinity are passed through. After Cephes' logf.
LCAT_INLINE Vector<float, 4> logarithm(Vector<float, 4> x) {
  using V = Vector<float, 4>;
  const Ints<V> bits = (Ints<V>)x;
  Ints<V> exponent = (bits >> 23) - 126;
  V m = (V)((bits & 0x007fffff) | 0x3f000000);  // in [1/2, 1)
  const Ints<V> small = (Ints<V>)(m < 0.707106781186547524f);
  exponent += small;  // minus one where true
  m = m + (V)((Ints<V>)m & small) - 1.0f;
  const V e = __builtin_convertvector(exponent, V);
  V p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const V square = m * m;
  V y = p * m * square + e * -2.12194440e-4f - square * 0.5f;
  y = m + y + e * 0.693359375f;
  return (x - x == 0.0f) ? y : x;
}

LCAT_INLINE Vector<double, 4> logarithm(Vector<double, 4> x) {
  return Vector<double, 4>{std::log(x[0]), std::log(x[1]), std::log(x[2]), std::log(x[3])};
}

}  // namespace lcat
