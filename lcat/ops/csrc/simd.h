// Vectors of a fixed number of lanes, on the vector extension that gcc and clang share.
//
// Arithmetic on a Vector is written with plain operators. The few operations for which the extension has no
// good notation (partial loads, maxima, masked additions) are intrinsics on x86 and loops elsewhere.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define LCAT_INLINE inline __attribute__((always_inline))

#if defined(__clang__)
#define LCAT_SHUFFLE(V, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LCAT_SHUFFLE(V, a, b, ...) __builtin_shuffle(a, b, typename IntsOf<V>::type{__VA_ARGS__})
#endif

namespace lcat {

template <class T, int Lanes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Lanes * sizeof(T))));
};
template <class T, int Lanes>
using Vector = typename VectorOf<T, Lanes>::type;

template <class V>
struct IntsOf;  // the vector of integers of the same shape, which shuffles and bit tricks need
#define LCAT_INTS(T, I, L)                                   \
  template <>                                                \
  struct IntsOf<Vector<T, L>> { using type = Vector<I, L>; };
LCAT_INTS(float, int32_t, 4)
LCAT_INTS(float, int32_t, 8)
LCAT_INTS(float, int32_t, 16)
LCAT_INTS(double, int64_t, 4)
LCAT_INTS(double, int64_t, 8)
#undef LCAT_INTS
template <class V>
using Ints = typename IntsOf<V>::type;
template <class V>
using Scalar = std::remove_cv_t<std::remove_reference_t<decltype(V{}[0])>>;
template <class V>
constexpr int kLanes = int(sizeof(V) / sizeof(Scalar<V>));

#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
#elif defined(__AVX2__)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif

// Lanes of the widest vector in use for T. Four doubles fill two baseline registers; the compiler splits them.
template <class T>
constexpr int kWidest = kRegisterBytes / int(sizeof(T)) < 4 ? 4 : kRegisterBytes / int(sizeof(T));

template <int Lanes, class T>
LCAT_INLINE Vector<T, Lanes> load(const T* p) {
  Vector<T, Lanes> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class V, class T>
LCAT_INLINE void store(T* p, const V& v) {
  std::memcpy(p, &v, sizeof v);
}

template <int Lanes, class T>
LCAT_INLINE Vector<T, Lanes> splat(T x) {
  return Vector<T, Lanes>{} + x;
}

// Loads and stores of the first `count` lanes, 0 < count <= Lanes.

template <int Lanes, class T>
struct Partial {
  static LCAT_INLINE Vector<T, Lanes> load(const T* p, int count) {
    Vector<T, Lanes> v{};
    for (int i = 0; i < count; ++i) v[i] = p[i];
    return v;
  }
  static LCAT_INLINE void store(T* p, Vector<T, Lanes> v, int count) {
    for (int i = 0; i < count; ++i) p[i] = v[i];
  }
};

#if defined(__AVX512F__) && defined(__AVX512VL__)
#define LCAT_PARTIAL(T, L, MASK, SUFFIX, REG)                                                    \
  template <>                                                                                    \
  struct Partial<L, T> {                                                                         \
    static LCAT_INLINE MASK first(int count) { return MASK((1u << count) - 1u); }                \
    static LCAT_INLINE Vector<T, L> load(const T* p, int count) {                                \
      return (Vector<T, L>)REG##_maskz_loadu_##SUFFIX(first(count), p);                          \
    }                                                                                            \
    static LCAT_INLINE void store(T* p, Vector<T, L> v, int count) {                             \
      REG##_mask_storeu_##SUFFIX(p, first(count), v);                                            \
    }                                                                                            \
  };
LCAT_PARTIAL(float, 16, __mmask16, ps, _mm512)
LCAT_PARTIAL(float, 8, __mmask8, ps, _mm256)
LCAT_PARTIAL(float, 4, __mmask8, ps, _mm)
LCAT_PARTIAL(double, 8, __mmask8, pd, _mm512)
LCAT_PARTIAL(double, 4, __mmask8, pd, _mm256)
#undef LCAT_PARTIAL
#elif defined(__AVX2__)
#define LCAT_PARTIAL(T, L, SUFFIX, REG, INTREG, ...)                                             \
  template <>                                                                                    \
  struct Partial<L, T> {                                                                         \
    static LCAT_INLINE INTREG first(int count) {                                                 \
      return (INTREG)(Ints<Vector<T, L>>{__VA_ARGS__} < count);                                  \
    }                                                                                            \
    static LCAT_INLINE Vector<T, L> load(const T* p, int count) {                                \
      return (Vector<T, L>)REG##_maskload_##SUFFIX(p, first(count));                             \
    }                                                                                            \
    static LCAT_INLINE void store(T* p, Vector<T, L> v, int count) {                             \
      REG##_maskstore_##SUFFIX(p, first(count), v);                                              \
    }                                                                                            \
  };
LCAT_PARTIAL(float, 8, ps, _mm256, __m256i, 0, 1, 2, 3, 4, 5, 6, 7)
LCAT_PARTIAL(float, 4, ps, _mm, __m128i, 0, 1, 2, 3)
LCAT_PARTIAL(double, 4, pd, _mm256, __m256i, 0, 1, 2, 3)
#undef LCAT_PARTIAL
#endif

// The larger of a and b; b where either is not a number, so that a NaN in b always survives.
template <class V>
LCAT_INLINE V larger(V a, V b) {
  return a > b ? a : b;
}
// acc + x where z > 0, acc elsewhere.
template <class V>
LCAT_INLINE V add_where_positive(V acc, V z, V x) {
  return acc + (V)((Ints<V>)x & (Ints<V>)(z > 0));
}
#if defined(__AVX512F__)
LCAT_INLINE Vector<float, 16> larger(Vector<float, 16> a, Vector<float, 16> b) { return _mm512_max_ps(a, b); }
LCAT_INLINE Vector<double, 8> larger(Vector<double, 8> a, Vector<double, 8> b) { return _mm512_max_pd(a, b); }
LCAT_INLINE Vector<float, 16> add_where_positive(Vector<float, 16> acc, Vector<float, 16> z, Vector<float, 16> x) {
  return _mm512_mask_add_ps(acc, _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_GT_OQ), acc, x);
}
LCAT_INLINE Vector<double, 8> add_where_positive(Vector<double, 8> acc, Vector<double, 8> z, Vector<double, 8> x) {
  return _mm512_mask_add_pd(acc, _mm512_cmp_pd_mask(z, _mm512_setzero_pd(), _CMP_GT_OQ), acc, x);
}
#endif
#if defined(__AVX2__)
LCAT_INLINE Vector<float, 8> larger(Vector<float, 8> a, Vector<float, 8> b) { return _mm256_max_ps(a, b); }
LCAT_INLINE Vector<float, 4> larger(Vector<float, 4> a, Vector<float, 4> b) { return _mm_max_ps(a, b); }
LCAT_INLINE Vector<double, 4> larger(Vector<double, 4> a, Vector<double, 4> b) { return _mm256_max_pd(a, b); }
#endif

// LeakyReLU as its formula: z above zero, else z * slope, so that 0 * -infinity is NaN here as everywhere.
template <class V, class T>
LCAT_INLINE V leaky(V z, T slope) {
  return z > 0 ? z : z * slope;
}
#if defined(__AVX512F__)
LCAT_INLINE Vector<float, 16> leaky(Vector<float, 16> z, float slope) {
  return _mm512_mask_mul_ps(z, _mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_LE_OQ), z, _mm512_set1_ps(slope));
}
LCAT_INLINE Vector<double, 8> leaky(Vector<double, 8> z, double slope) {
  return _mm512_mask_mul_pd(z, _mm512_cmp_pd_mask(z, _mm512_setzero_pd(), _CMP_LE_OQ), z, _mm512_set1_pd(slope));
}
#endif
#if defined(__AVX2__)  // the sign of z is the mask: no comparison
LCAT_INLINE Vector<float, 8> leaky(Vector<float, 8> z, float slope) { return _mm256_blendv_ps(z, z * slope, z); }
LCAT_INLINE Vector<float, 4> leaky(Vector<float, 4> z, float slope) { return _mm_blendv_ps(z, z * slope, z); }
LCAT_INLINE Vector<double, 4> leaky(Vector<double, 4> z, double slope) { return _mm256_blendv_pd(z, z * slope, z); }
#endif

template <class V>
LCAT_INLINE Vector<Scalar<V>, 4> first_four(V v) {
  Vector<Scalar<V>, 4> four;
  std::memcpy(&four, &v, sizeof four);
  return four;
}

// The sums over the lanes of four vectors, as one vector of four.
template <class V>
LCAT_INLINE Vector<Scalar<V>, 4> sum_each(V a, V b, V c, V d) {
  if constexpr (kLanes<V> == 4) {
    const V ab = LCAT_SHUFFLE(V, a, b, 0, 4, 1, 5) + LCAT_SHUFFLE(V, a, b, 2, 6, 3, 7);
    const V cd = LCAT_SHUFFLE(V, c, d, 0, 4, 1, 5) + LCAT_SHUFFLE(V, c, d, 2, 6, 3, 7);
    return LCAT_SHUFFLE(V, ab, cd, 0, 1, 4, 5) + LCAT_SHUFFLE(V, ab, cd, 2, 3, 6, 7);
  } else if constexpr (kLanes<V> == 8) {
    // Four partial sums of each of two vectors, side by side; then two of each of four, then one.
    const V ab = LCAT_SHUFFLE(V, a, b, 0, 1, 2, 3, 8, 9, 10, 11) + LCAT_SHUFFLE(V, a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    const V cd = LCAT_SHUFFLE(V, c, d, 0, 1, 2, 3, 8, 9, 10, 11) + LCAT_SHUFFLE(V, c, d, 4, 5, 6, 7, 12, 13, 14, 15);
    const V acbd =
        LCAT_SHUFFLE(V, ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) + LCAT_SHUFFLE(V, ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    const V sums = acbd + LCAT_SHUFFLE(V, acbd, acbd, 1, 0, 3, 2, 5, 4, 7, 6);
    return first_four(LCAT_SHUFFLE(V, sums, sums, 0, 4, 2, 6, 0, 4, 2, 6));
  } else {
    const V ab = LCAT_SHUFFLE(V, a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                 LCAT_SHUFFLE(V, a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    const V cd = LCAT_SHUFFLE(V, c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                 LCAT_SHUFFLE(V, c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    const V abcd = LCAT_SHUFFLE(V, ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                   LCAT_SHUFFLE(V, ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    const V pairs = abcd + LCAT_SHUFFLE(V, abcd, abcd, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    const V sums = pairs + LCAT_SHUFFLE(V, pairs, pairs, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    return first_four(LCAT_SHUFFLE(V, sums, sums, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12));
  }
}

// The value of `combine` over each group of four neighboring lanes, in all of its lanes.
template <class V, class Combine>
LCAT_INLINE V over_quads(V v, Combine combine) {
  if constexpr (kLanes<V> == 4) {
    v = combine(v, LCAT_SHUFFLE(V, v, v, 2, 3, 0, 1));
    return combine(v, LCAT_SHUFFLE(V, v, v, 1, 0, 3, 2));
  } else if constexpr (kLanes<V> == 8) {
    v = combine(v, LCAT_SHUFFLE(V, v, v, 2, 3, 0, 1, 6, 7, 4, 5));
    return combine(v, LCAT_SHUFFLE(V, v, v, 1, 0, 3, 2, 5, 4, 7, 6));
  } else {
    v = combine(v, LCAT_SHUFFLE(V, v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    return combine(v, LCAT_SHUFFLE(V, v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  }
}

// load<Lanes> of numbers that were written four at a time just before: a whole read would wait until they are in the
// cache, as a processor hands on what one write covers.
template <int Lanes, class T>
LCAT_INLINE Vector<T, Lanes> load_fours(const T* p) {
#if defined(__AVX512F__)
  if constexpr (Lanes == 16) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 4), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 8), 2);
    return (Vector<T, Lanes>)_mm512_insertf32x4(v, _mm_loadu_ps(p + 12), 3);
  }
  if constexpr (Lanes == 8 && sizeof(T) == 8) {
    return (Vector<T, Lanes>)_mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(p)), _mm256_loadu_pd(p + 4), 1);
  }
#endif
#if defined(__AVX2__)
  if constexpr (Lanes == 8 && sizeof(T) == 4) {
    return (Vector<T, Lanes>)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4), 1);
  }
#endif
  return load<Lanes>(p);
}

// Lanes that belong to edges before the n-th, `otherwise` elsewhere; a group of four edges is repeated over Stride lanes.
template <int Stride, class V>
LCAT_INLINE V only_before(V v, int n, Scalar<V> otherwise) {
  Ints<V> edge;
  for (int i = 0; i < kLanes<V>; ++i) edge[i] = i / Stride * 4 + i % 4;
  return edge < n ? v : V{} + otherwise;
}

// The rows a, b, c, d of a 4 x 4 matrix become its columns.
template <class V>
LCAT_INLINE void transpose(V& a, V& b, V& c, V& d) {
  const V ab_low = LCAT_SHUFFLE(V, a, b, 0, 4, 1, 5), ab_high = LCAT_SHUFFLE(V, a, b, 2, 6, 3, 7);
  const V cd_low = LCAT_SHUFFLE(V, c, d, 0, 4, 1, 5), cd_high = LCAT_SHUFFLE(V, c, d, 2, 6, 3, 7);
  a = LCAT_SHUFFLE(V, ab_low, cd_low, 0, 1, 4, 5);
  b = LCAT_SHUFFLE(V, ab_low, cd_low, 2, 3, 6, 7);
  c = LCAT_SHUFFLE(V, ab_high, cd_high, 0, 1, 4, 5);
  d = LCAT_SHUFFLE(V, ab_high, cd_high, 2, 3, 6, 7);
}

}  // namespace lcat
