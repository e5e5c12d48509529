// Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), on vectors of
// counters.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace lcat {

// One counter in each 64-bit lane of a register. On the way out, a lane has one word of its counter in its lower half;
// the upper half is of no account.
typedef uint64_t PhiloxLanes __attribute__((vector_size(kRegisterBytes)));
typedef uint32_t PhiloxWords __attribute__((vector_size(kRegisterBytes)));
constexpr int kPhiloxLanes = kRegisterBytes / 8;

// Vectors at once: each round waits for the one before, so that a processor needs several to be busy.
constexpr int kPhiloxVectors = 4;

struct PhiloxBlock {
  PhiloxLanes word[4];
};

// The products of the lower halves. Compilers do not see in plain C++ that one instruction does it.
LCAT_INLINE PhiloxLanes multiply_halves(PhiloxLanes x, uint32_t factor) {
  const PhiloxLanes y = PhiloxLanes{} + factor;
#if defined(__AVX512F__)
  return (PhiloxLanes)_mm512_mul_epu32((__m512i)x, (__m512i)y);
#elif defined(__AVX2__)
  return (PhiloxLanes)_mm256_mul_epu32((__m256i)x, (__m256i)y);
#elif defined(__SSE2__)
  return (PhiloxLanes)_mm_mul_epu32((__m128i)x, (__m128i)y);
#else
  return (x & 0xFFFFFFFFu) * y;
#endif
}

LCAT_INLINE PhiloxLanes xor_of_three(PhiloxLanes x, PhiloxLanes y, PhiloxLanes z) {
#if defined(__AVX512F__)
  return (PhiloxLanes)_mm512_ternarylogic_epi64((__m512i)x, (__m512i)y, (__m512i)z, 0x96);
#else
  return x ^ y ^ z;
#endif
}

// The words of kPhiloxVectors vectors of counters.
LCAT_INLINE void philox(const PhiloxLanes* counters, uint64_t seed, PhiloxBlock* blocks) {
  constexpr int K = kPhiloxVectors;
  PhiloxLanes a[K], b[K], c[K], d[K];
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) {
    a[k] = counters[k];
    b[k] = a[k] >> 32;
    c[k] = d[k] = PhiloxLanes{};
  }
  uint32_t low = uint32_t(seed), high = uint32_t(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const PhiloxLanes low_key = PhiloxLanes{} + low, high_key = PhiloxLanes{} + high;
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      const PhiloxLanes p = multiply_halves(a[k], 0xD2511F53u), q = multiply_halves(c[k], 0xCD9E8D57u);
      a[k] = xor_of_three(q >> 32, b[k], low_key);
      b[k] = q;
      c[k] = xor_of_three(p >> 32, d[k], high_key);
      d[k] = p;
    }
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) blocks[k] = PhiloxBlock{{a[k], b[k], c[k], d[k]}};
}

// For kPhiloxVectors vectors: put(at, words) with the words of four counters after the other, as 4 x 4 matrices: word 0
// of the four, then word 1, ... `at` counts words.
template <class Put>
LCAT_INLINE void words_by_fours(const PhiloxBlock* blocks, Put&& put) {
  using W = PhiloxWords;
#pragma GCC unroll 4
  for (int k = 0; k < kPhiloxVectors; ++k) {
    const W a = (W)blocks[k].word[0], b = (W)blocks[k].word[1], c = (W)blocks[k].word[2], d = (W)blocks[k].word[3];
#if defined(__AVX512F__)
    using Lanes = Vector<float, 16>;
    const Lanes ab = LCAT_SHUFFLE(Lanes, (Lanes)a, (Lanes)b, 0, 2, 4, 6, 16, 18, 20, 22, 8, 10, 12, 14, 24, 26, 28, 30);
    const Lanes cd = LCAT_SHUFFLE(Lanes, (Lanes)c, (Lanes)d, 0, 2, 4, 6, 16, 18, 20, 22, 8, 10, 12, 14, 24, 26, 28, 30);
    put(k * 32, (W)LCAT_SHUFFLE(Lanes, ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    put(k * 32 + 16, (W)LCAT_SHUFFLE(Lanes, ab, cd, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
#elif defined(__AVX2__)
    using Lanes = Vector<float, 8>;
    // a0 b0 a1 b1 ... in one register, then even and odd places
    const Lanes ab = LCAT_SHUFFLE(Lanes, (Lanes)a, (Lanes)(W)((PhiloxLanes)b << 32), 0, 9, 2, 11, 4, 13, 6, 15);
    const Lanes cd = LCAT_SHUFFLE(Lanes, (Lanes)c, (Lanes)(W)((PhiloxLanes)d << 32), 0, 9, 2, 11, 4, 13, 6, 15);
    put(k * 16, (W)LCAT_SHUFFLE(Lanes, ab, ab, 0, 2, 4, 6, 1, 3, 5, 7));
    put(k * 16 + 8, (W)LCAT_SHUFFLE(Lanes, cd, cd, 0, 2, 4, 6, 1, 3, 5, 7));
#else
    if (k % 2) continue;
    using Lanes = Vector<float, 4>;
    const W more[4] = {(W)blocks[k + 1].word[0], (W)blocks[k + 1].word[1], (W)blocks[k + 1].word[2],
                       (W)blocks[k + 1].word[3]};
    put(k * 8, (W)LCAT_SHUFFLE(Lanes, (Lanes)a, (Lanes)more[0], 0, 2, 4, 6));
    put(k * 8 + 4, (W)LCAT_SHUFFLE(Lanes, (Lanes)b, (Lanes)more[1], 0, 2, 4, 6));
    put(k * 8 + 8, (W)LCAT_SHUFFLE(Lanes, (Lanes)c, (Lanes)more[2], 0, 2, 4, 6));
    put(k * 8 + 12, (W)LCAT_SHUFFLE(Lanes, (Lanes)d, (Lanes)more[3], 0, 2, 4, 6));
#endif
  }
}

// The lower halves of two vectors, one after the other.
LCAT_INLINE PhiloxWords lower_halves(PhiloxLanes first, PhiloxLanes second) {
  using W = PhiloxWords;
#if defined(__AVX512F__)
  using Lanes = Vector<float, 16>;
  return (W)LCAT_SHUFFLE(Lanes, (Lanes)first, (Lanes)second, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif defined(__AVX2__)
  using Lanes = Vector<float, 8>;
  return (W)LCAT_SHUFFLE(Lanes, (Lanes)first, (Lanes)second, 0, 2, 4, 6, 8, 10, 12, 14);
#else
  using Lanes = Vector<float, 4>;
  return (W)LCAT_SHUFFLE(Lanes, (Lanes)first, (Lanes)second, 0, 2, 4, 6);
#endif
}

}  // namespace lcat
