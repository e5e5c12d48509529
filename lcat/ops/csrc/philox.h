// Dropout by counter: whether an attention coefficient is kept depends on the seed, the edge and the head only,
// so that forward and backward passes agree without storing a mask. Philox 4x32-10 of Salmon, Moraes, Dror and
// Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace lcat {

struct Dropout {
  uint64_t seed = 0;
  uint64_t threshold = 0;  // a coefficient is kept if its 32 random bits are at least this
  double scale = 1;        // of the coefficients that are kept
  bool active = false;

  Dropout(double probability, int64_t seed) : seed(uint64_t(seed)), active(probability > 0) {
    threshold = uint64_t(probability * 4294967296.0);
    scale = probability < 1 ? 1 / (1 - probability) : 0;
  }
};

constexpr int kPhiloxLanes = 16;

// As many 64-bit lanes as a register has; the numbers are in their lower halves, the upper ones are of no account.
#if defined(__AVX512F__)
typedef uint64_t PhiloxLanes __attribute__((vector_size(64)));
#elif defined(__AVX2__)
typedef uint64_t PhiloxLanes __attribute__((vector_size(32)));
#else
typedef uint64_t PhiloxLanes __attribute__((vector_size(16)));
#endif

// The products of the lower halves. Compilers do not see in plain C++ that one instruction does it.
inline PhiloxLanes multiply_halves(PhiloxLanes x, uint32_t factor) {
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

// The four words of Philox at `kPhiloxLanes` counters.
inline void philox(const uint64_t* counter, uint64_t seed, uint32_t words[4][kPhiloxLanes]) {
  constexpr int kLanes = sizeof(PhiloxLanes) / sizeof(uint64_t), kVectors = kPhiloxLanes / kLanes;
  PhiloxLanes a[kVectors], b[kVectors], c[kVectors], d[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    std::memcpy(&a[v], counter + v * kLanes, sizeof(PhiloxLanes));
    b[v] = a[v] >> 32;
    c[v] = d[v] = PhiloxLanes{};
  }
  uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < kVectors; ++v) {
      const PhiloxLanes p = multiply_halves(a[v], 0xD2511F53u), q = multiply_halves(c[v], 0xCD9E8D57u);
      a[v] = (q >> 32) ^ b[v] ^ key0;
      b[v] = q;
      c[v] = (p >> 32) ^ d[v] ^ key1;
      d[v] = p;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int v = 0; v < kVectors; ++v) {
    for (int i = 0; i < kLanes; ++i) {
      words[0][v * kLanes + i] = uint32_t(a[v][i]);
      words[1][v * kLanes + i] = uint32_t(b[v][i]);
      words[2][v * kLanes + i] = uint32_t(c[v][i]);
      words[3][v * kLanes + i] = uint32_t(d[v][i]);
    }
  }
}

// out (quad order) = 0 or dropout.scale for each edge and head of a block.
template <class T>
void dropout_block(const Dropout& dropout, const int32_t* edge_ids, int n, int64_t heads, T* out) {
  const T scale = T(dropout.scale);
  uint64_t counter[kPhiloxLanes];
  uint32_t words[4][kPhiloxLanes];
  const int quads = (n + 3) / 4;
  const auto draw = [&](int word, int lane) { return words[word][lane] >= dropout.threshold ? scale : T(0); };
  if (heads % 4 == 0) {
    // One counter gives the words of four neighboring heads: lanes are (group of heads, edge in the quad).
    const int64_t groups = heads / 4;
    const int64_t lanes = quads * groups * 4;
    for (int64_t first = 0; first < lanes; first += kPhiloxLanes) {
      for (int i = 0; i < kPhiloxLanes; ++i) {
        const int64_t lane = std::min<int64_t>(first + i, lanes - 1);
        const int64_t quad = lane / 4 / groups, group = lane / 4 % groups;
        const int b = std::min(int(quad * 4 + lane % 4), n - 1);
        counter[i] = uint64_t(edge_ids[b]) * uint64_t(groups) + uint64_t(group);
      }
      philox(counter, dropout.seed, words);
      for (int i = 0; i < kPhiloxLanes && first + i < lanes; ++i) {
        T* at = out + (first + i) / 4 * 16 + i % 4;
        for (int word = 0; word < 4; ++word) at[word * 4] = draw(word, i);
      }
    }
    return;
  }
  const int64_t lanes = quads * heads * 4;
  for (int64_t first = 0; first < lanes; first += kPhiloxLanes) {
    uint64_t index[kPhiloxLanes];
    for (int i = 0; i < kPhiloxLanes; ++i) {
      const int64_t lane = std::min<int64_t>(first + i, lanes - 1);
      const int b = std::min(int(lane / 4 / heads * 4 + lane % 4), n - 1);
      index[i] = uint64_t(edge_ids[b]) * uint64_t(heads) + uint64_t(lane / 4 % heads);
      counter[i] = index[i] / 4;
    }
    philox(counter, dropout.seed, words);
    for (int i = 0; i < kPhiloxLanes && first + i < lanes; ++i) out[first + i] = draw(int(index[i] % 4), i);
  }
}

// out (quad order) = the factor that multiplies each coefficient of a block after the softmax: dropout times
// edge weight.
template <class T>
void multipliers(const Dropout& dropout, const T* edge_weight, const int32_t* edge_ids, int n, int64_t heads, T* out) {
  if (dropout.active) {
    dropout_block(dropout, edge_ids, n, heads, out);
  } else {
    std::fill_n(out, (n + 3) / 4 * heads * 4, T(1));
  }
  if (edge_weight == nullptr) return;
  for (int b = 0; b < n; ++b) {
    for (int64_t h = 0; h < heads; ++h) out[(b / 4 * heads + h) * 4 + b % 4] *= edge_weight[edge_ids[b]];
  }
}

}  // namespace lcat
