// dropout: y_i = x_i / (1 - p) where an entry is kept, else 0. The mask follows from the seed and the position, so
// that the backward pass, which is the same map of the gradient, needs none.
#include <algorithm>
#include <cstdint>

#include "export.h"
#include "multipliers.h"
#include "philox.h"
#include "work.h"

namespace lcat {
namespace {

// Entry i is word (i % 64) / 16 of counter (i / 64) * 16 + i % 16: a block of 64 entries is four rows of 16 counters.
constexpr int64_t kRow = 16, kBlock = 4 * kRow;
// Blocks whose counters fill kPhiloxVectors vectors.
constexpr int64_t kBlocksAtOnce = kPhiloxLanes * kPhiloxVectors > kRow ? kPhiloxLanes * kPhiloxVectors / kRow : 1;

// The words of kBlocksAtOnce blocks, in the order of the entries.
LCAT_INLINE void draw(uint64_t first_block, uint64_t seed, uint32_t* words) {
  constexpr int64_t kAtOnce = kPhiloxLanes * kPhiloxVectors, kPair = 2 * kPhiloxLanes;
  PhiloxLanes counters[kPhiloxVectors];
  PhiloxBlock blocks[kPhiloxVectors];
  for (int64_t c = 0; c < kBlocksAtOnce * kRow; c += kAtOnce) {
    for (int k = 0; k < kPhiloxVectors; ++k) {
      for (int i = 0; i < kPhiloxLanes; ++i) counters[k][i] = uint64_t(c + k * kPhiloxLanes + i);
      counters[k] += first_block * uint64_t(kRow);
    }
    philox(counters, seed, blocks);
    for (int k = 0; k < kPhiloxVectors; k += 2) {
      const int64_t at = c + k / 2 * kPair;
      for (int word = 0; word < 4; ++word) {
        const PhiloxWords pair = lower_halves(blocks[k].word[word], blocks[k + 1].word[word]);
        std::memcpy(words + at / kRow * kBlock + word * kRow + at % kRow, &pair, sizeof pair);
      }
    }
  }
}

template <class T>
void drop(const T* x, T* y, int64_t count, const Dropout& dropout, int chunk) {
  constexpr int64_t kEntries = kBlocksAtOnce * kBlock;
  const Range parts = part_of_chunk((count + kEntries - 1) / kEntries, chunk);
  const T scale = T(dropout.scale);
  const uint32_t threshold = dropout.threshold;
  uint32_t words[kEntries];
  for (int64_t part = parts.begin; part < parts.end; ++part) {
    const T* from = x + part * kEntries;
    T* to = y + part * kEntries;
    const int64_t entries = std::min(kEntries, count - part * kEntries);
    if (scale == 0) {  // infinite and NaN entries go as well
      std::fill_n(to, entries, T(0));
      continue;
    }
    draw(uint64_t(part * kBlocksAtOnce), dropout.seed, words);
    if (entries == kEntries) {
      for (int64_t i = 0; i < kEntries; ++i) to[i] = words[i] >= threshold ? from[i] * scale : T(0);
    } else {
      for (int64_t i = 0; i < entries; ++i) to[i] = words[i] >= threshold ? from[i] * scale : T(0);
    }
  }
}

template <class T>
int run(const T* x, T* y, int64_t count, double probability, int64_t seed, int threads) {
  const Dropout dropout(probability, seed);
  return for_chunks(threads, [&](int chunk) { drop(x, y, count, dropout, chunk); });
}

}  // namespace
}  // namespace lcat

LCAT_EXPORT int lcat_dropout_f32(const float* x, float* y, int64_t count, double probability, int64_t seed,
                                 int threads) {
  return lcat::run(x, y, count, probability, seed, threads);
}
LCAT_EXPORT int lcat_dropout_f64(const double* x, double* y, int64_t count, double probability, int64_t seed,
                                 int threads) {
  return lcat::run(x, y, count, probability, seed, threads);
}
