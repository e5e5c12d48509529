// dropout: y_i = x_i / (1 - p) where an entry is kept, else 0. The mask follows from the seed and the position, so
// that the backward pass, which is the same map of the gradient, needs none.
#include <algorithm>
#include <cstdint>

#include "export.h"
#include "philox.h"
#include "work.h"

namespace lcat {
namespace {

constexpr int64_t kBlock = 4 * kPhiloxLanes;

// Entry i is word (i % 64) / 16 of counter (i / 64) * 16 + i % 16: a block of 64 is four rows of 16 lanes, as philox
// leaves them.
template <class T>
void drop(const T* x, T* y, int64_t count, const Dropout& dropout, int chunk) {
  const Range blocks = part_of_chunk((count + kBlock - 1) / kBlock, chunk);
  const T scale = T(dropout.scale);
  uint64_t counter[kPhiloxLanes];
  uint32_t words[4][kPhiloxLanes];
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    for (int i = 0; i < kPhiloxLanes; ++i) counter[i] = uint64_t(block) * kPhiloxLanes + uint64_t(i);
    philox(counter, dropout.seed, words);
    const uint32_t* word = &words[0][0];
    const T* from = x + block * kBlock;
    T* to = y + block * kBlock;
    if (dropout.threshold > 0xFFFFFFFFu) {  // p = 1: infinite and NaN entries go as well
      std::fill_n(to, std::min(kBlock, count - block * kBlock), T(0));
    } else if ((block + 1) * kBlock <= count) {
      const uint32_t threshold = uint32_t(dropout.threshold);
      for (int i = 0; i < kBlock; ++i) to[i] = word[i] >= threshold ? from[i] * scale : T(0);
    } else {
      const uint32_t threshold = uint32_t(dropout.threshold);
      for (int64_t i = 0; i < count - block * kBlock; ++i) to[i] = word[i] >= threshold ? from[i] * scale : T(0);
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
