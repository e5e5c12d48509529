// What multiplies the coefficients after the softmax: dropout times edge weight.
//
// Whether a coefficient is kept depends on the seed, the edge and the head only, so that forward and backward passes
// agree without storing a mask. Random numbers are cheap in long vectors and dear one by one: they are drawn for many
// edges at a time, whatever rows these belong to.
#pragma once

#include <algorithm>
#include <cstdint>

#include "block.h"
#include "philox.h"

namespace lcat {

struct Dropout {
  uint64_t seed = 0;
  uint32_t threshold = 0;  // a coefficient is kept if its 32 random bits are at least this
  double scale = 1;        // of the coefficients that are kept: 0 where all are dropped
  bool active = false;

  Dropout(double probability, int64_t seed) : seed(uint64_t(seed)), active(probability > 0) {
    if (probability < 1) {
      threshold = uint32_t(probability * 4294967296.0);
      scale = 1 / (1 - probability);
    } else {
      scale = 0;
    }
  }
};

constexpr int64_t kCountersAtOnce = kPhiloxLanes * kPhiloxVectors;

// Numbers of room that draw_factors needs for its counters, and for its result.
inline int64_t counters_for(int64_t quads, int64_t heads) {
  return quads * heads * (heads % 4 == 0 ? 1 : 4) + kCountersAtOnce;
}
inline int64_t factors_for(int64_t quads, int64_t heads) { return quads * heads * 4 + kCountersAtOnce * 4; }

// out[i] = scale where words[i] is at least the threshold, else 0.
template <class T>
LCAT_INLINE void put_factors(const Dropout& dropout, PhiloxWords words, T* out) {
  if constexpr (sizeof(T) == 4) {
    using V = Vector<float, kRegisterBytes / 4>;
    const V scale = V{} + T(dropout.scale);
    store(out, (V)((Ints<V>)scale & (Ints<V>)(words >= PhiloxWords{} + dropout.threshold)));
  } else {
    for (int i = 0; i < kRegisterBytes / 4; ++i) out[i] = words[i] >= dropout.threshold ? T(dropout.scale) : T(0);
  }
}

// out (quad order) = 0 or dropout.scale for each edge and head of some quads of edges. Where four neighboring heads have
// one counter, all of its words are used.
template <class T>
void draw_factors(const Dropout& dropout, const uint64_t* edge_ids, int64_t quads, int64_t heads, uint64_t* counters,
                  T* out) {
  using Four = Vector<uint64_t, 4>;
  const bool whole = heads % 4 == 0;
  const int64_t per_edge = whole ? heads / 4 : heads, count = quads * per_edge * 4;
  uint64_t* to = counters;
  for (int64_t q = 0; q < quads; ++q) {
    Four index;
    std::memcpy(&index, edge_ids + q * 4, sizeof index);
    index *= uint64_t(per_edge);
    for (int64_t i = 0; i < per_edge; ++i, index += 1, to += 4) store(to, index);
  }
  std::fill_n(to, kCountersAtOnce - 1, uint64_t(0));
  PhiloxBlock blocks[kPhiloxVectors];
  PhiloxLanes index[kPhiloxVectors];
  for (int64_t at = 0; at < count; at += kCountersAtOnce) {
    std::memcpy(index, counters + at, sizeof index);
    if (whole) {
      philox(index, dropout.seed, blocks);
      T* first = out + at * 4;
      words_by_fours(blocks, [&](int i, PhiloxWords words) { put_factors(dropout, words, first + i); });
      continue;
    }
    PhiloxLanes block_index[kPhiloxVectors], word[kPhiloxVectors];
    for (int k = 0; k < kPhiloxVectors; ++k) block_index[k] = index[k] >> 2;
    philox(block_index, dropout.seed, blocks);
    for (int k = 0; k < kPhiloxVectors; ++k) {
      const PhiloxLanes* w = blocks[k].word;
      const auto odd = (index[k] & 1) != 0, late = (index[k] & 2) != 0;
      const PhiloxLanes early_word = odd ? w[1] : w[0], late_word = odd ? w[3] : w[2];
      word[k] = late ? late_word : early_word;
    }
    for (int k = 0; k < kPhiloxVectors; k += 2) {
      put_factors(dropout, lower_halves(word[k], word[k + 1]), out + at + k * kPhiloxLanes);
    }
  }
}

// The multipliers of the blocks of edges that a kernel visits.
template <class T>
class Multipliers {
 public:
  // `rows` are visited one after the other, each in blocks of `block_size` slots.
  Multipliers(const Dropout& dropout, const T* edge_weight, const SortedEdges& edges, Range rows, int64_t heads,
              int block_size)
      : dropout_(dropout), edge_weight_(edge_weight), edges_(edges), heads_(heads), row_(rows.begin),
        last_row_(rows.end), slot_(edges.indptr[rows.begin]), block_size_(block_size) {
    if (!*this) return;
    factors_ = scratch<T>(factors_for(kQuads, heads));
    if (dropout.active) counters_ = scratch<uint64_t>(counters_for(kQuads, heads));
  }

  explicit operator bool() const { return dropout_.active || edge_weight_; }

  // Those of the next block, of n edges, in quad order.
  LCAT_INLINE const T* next(int n) {
    if (used_ == quads_) refill();
    const T* factors = factors_.get() + used_ * heads_ * 4;
    used_ += whole_quads(n);
    return factors;
  }

 private:
  static constexpr int kQuads = 32;
  static_assert(kQuads * 4 >= kMaxEdges);

  void refill() {
    uint64_t ids[kQuads * 4];  // widened here: a plain copy of any length becomes a call or a slow instruction
    used_ = quads_ = 0;
    for (; row_ < last_row_; ++row_) {
      const int64_t end = edges_.indptr[row_ + 1];
      while (slot_ < end) {
        const int n = int(std::min<int64_t>(block_size_, end - slot_)), quads = whole_quads(n);
        if (quads_ + quads > kQuads) return draw(ids);
        const int32_t* from = edges_.edge_ids + slot_;
        uint64_t* to = ids + quads_ * 4;
        for (int b = 0; b < n; ++b) to[b] = uint32_t(from[b]);
        for (int b = n; b < quads * 4; ++b) to[b] = uint32_t(from[n - 1]);
        quads_ += quads;
        slot_ += n;
      }
    }
    draw(ids);
  }

  void draw(const uint64_t* ids) {
    T* factors = factors_.get();
    if (dropout_.active) {
      draw_factors(dropout_, ids, quads_, heads_, counters_.get(), factors);
    } else {
      std::fill_n(factors, quads_ * heads_ * 4, T(1));
    }
    if (edge_weight_ == nullptr) return;
    for (int64_t q = 0; q < quads_; ++q, ids += 4) {
      const Vector<T, 4> weight{edge_weight_[ids[0]], edge_weight_[ids[1]], edge_weight_[ids[2]], edge_weight_[ids[3]]};
      for (int64_t h = 0; h < heads_; ++h, factors += 4) store(factors, load<4>(factors) * weight);
    }
  }

  Dropout dropout_;
  const T* edge_weight_;
  const SortedEdges& edges_;
  int64_t heads_, row_, last_row_, slot_;
  int block_size_;
  int64_t used_ = 0, quads_ = 0;
  Memory<T> factors_;
  Memory<uint64_t> counters_;
};

}  // namespace lcat
