// gatv2_attention for rows of a few vectors: the edges of several nodes fill a block, and rows with many edges are cut.
#pragma once

#include "edge_features.h"
#include "parts.h"
#include "rows.h"

namespace lcat {

template <class T>
struct NarrowGatv2Forward {
  const RowShape<T>& shape;
  const T *key, *query, *value, *att, *edge_weight;  // edge_weight may be null; value may be key
  EdgeFeatures<T> features;
  SortedEdges edges;
  T *out, *lse;
  T slope;
  Dropout dropout;

  // What the blocks of one part share.
  struct Work {
    const ShiftedRows<T> shifted;
    const EdgeFactors<T> factors;
    const int64_t last, ahead;
    const int block_size;
    const Memory<T> memory;
    T *scores, *weights, *totals, *inverse, *highest, *running, *shrink;
    EdgeRows<T> keys, other_values, queries, next_keys;
    const EdgeRows<T>& values;

    explicit Work(const NarrowGatv2Forward& kernel)
        : shifted(kernel.features, kernel.shape.row, edges_of_block<T>(kernel.shape.row)),
          factors(kernel.shape, kernel.dropout, kernel.edge_weight),
          last(kernel.edges.slots()),
          ahead(edges_of_block<T>(kernel.shape.row)),
          block_size(edges_of_block<T>(kernel.shape.row)),
          memory(scratch<T>(kernel.shape.room(kMaxEdges) * 4 + kernel.shape.wide() * 3)),
          values(kernel.value == kernel.key && !kernel.features ? keys : other_values) {
      const int64_t room = kernel.shape.room(kMaxEdges), wide = kernel.shape.wide();
      highest = memory.get();
      running = highest + wide;
      shrink = running + wide;
      scores = shrink + wide;
      totals = scores + room;
      inverse = totals + room;
      weights = factors ? inverse + room : scores;
    }
  };

  void run(const Part& part, int, const Pieces<T>& pieces) const {
    Work work(*this);
    Segments segments;
    int64_t slot = part.begin;  // where the block begins that is being filled
    segments.begin[0] = 0;
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      const int64_t begin = std::max(edges.indptr[i], part.begin), end = std::min(edges.indptr[i + 1], part.end);
      if (begin == end) {
        std::fill_n(out + i * shape.row, shape.row, T(0));
        std::fill_n(lse + i * shape.heads, shape.heads, T(0));
        continue;
      }
      T* piece = i == part.rows.begin && pieces.first ? pieces.first : nullptr;
      if (i == part.rows.end - 1 && pieces.last) piece = pieces.last;
      if (piece || end - slot > work.block_size) {
        run_block(work, segments, slot);
        segments.count = 0;
        slot = begin;
      }
      if (piece || end - begin > work.block_size) {
        run_long_row(work, i, begin, end, piece);
        slot = end;
        continue;
      }
      segments.row[segments.count++] = i;
      segments.begin[segments.count] = int(end - slot);
    }
    run_block(work, segments, slot);
  }

  // The parts of a sum of values, see sum_segments.
  static auto nothing() {
    return [](int, const auto&) __attribute__((always_inline)) { return Vector<T, kWidest<T>>{}; };
  }
  static auto add_values(const Work& work) {
    return [&work](auto sum, auto w, auto, int b, const auto& column) __attribute__((always_inline)) {
      return sum + w * column.load(work.values[b]);
    };
  }

  void score(Work& work, const Segments& segments, int64_t slot, int n) const {
    const int32_t *indices = edges.indices + slot, *edge_ids = edges.edge_ids + slot;
    work.keys.gather(key, shape.row, indices, n);
    work.next_keys.gather_ahead(key, shape.row, edges.indices, slot + work.ahead, work.last, n);
    if (&work.values != &work.keys) work.other_values.gather(value, shape.row, indices, n);
    work.shifted.shift(work.keys, edge_ids, n);
    work.queries.repeat(query, shape.row, segments);
    sum_over_heads(shape, n, work.scores, [&, by = slope](int b, int64_t f, auto load) __attribute__((always_inline)) {
      __builtin_prefetch(work.next_keys[b] + f);
      return leaky(load(work.keys[b] + f) + load(work.queries[b] + f), by) * load(att + f);
    });
    fill_up(shape, n, work.scores, T(-INFINITY));
    largest_of_heads(shape, n, work.scores, work.highest);
  }

  // scores -> e^(score - highest), and their sums over each segment; weights: what the values are multiplied by.
  void exponentiate(Work& work, const Segments& segments, int64_t slot, int n, const T* highest) const {
    constexpr int W = kWidest<T>;
    for_coefficients(shape, n, [&](int64_t at, int64_t c) __attribute__((always_inline)) {
      store(work.scores + at, exponential(load<W>(work.scores + at) - load<W>(highest + c)));
    });
    total_segments(shape, segments, work.scores, work.totals);
    if (!work.factors) return;
    const T* factors = work.factors.of(edges.edge_ids + slot, n);
    for_coefficients(shape, n, [&](int64_t at, int64_t) __attribute__((always_inline)) {
      store(work.weights + at, load<W>(work.scores + at) * load<W>(factors + at));
    });
  }

  // Whole rows, few edges each. They share one maximum, which all but cancels: a row that is far below it is made again
  // with its own.
  void run_block(Work& work, const Segments& segments, int64_t slot) const {
    constexpr T far_below = T(2e-9);
    if (segments.count == 0) return;
    const int n = segments.begin[segments.count];
    score(work, segments, slot, n);
    exponentiate(work, segments, slot, n, work.highest);
    bool redo = false;
    for (int64_t at = 0; at < segments.count * shape.stride; at += 4) {
      const auto total = load<4>(work.totals + at);
      store(work.inverse + at, T(1) / total);
    }
    for (int s = 0; s < segments.count; ++s) {
      for (int64_t h = 0; h < shape.heads; ++h) redo |= work.totals[s * shape.stride + h] < far_below;
    }
    sum_segments(
        shape, segments, work.weights, nothing(), add_values(work),
        [&, to = out](int s, const auto& column, auto sum) __attribute__((always_inline)) {
          column.store(to + segments.row[s] * shape.row, sum * column.spread(work.inverse + s * shape.stride));
        });
    for (int64_t at = 0; at < segments.count * shape.stride; at += 4) {
      store(work.totals + at, logarithm(load<4>(work.totals + at)));
    }
    for (int s = 0; s < segments.count; ++s) {
      for (int64_t h = 0; h < shape.heads; ++h) {
        lse[segments.row[s] * shape.heads + h] = work.totals[s * shape.stride + h] + work.highest[h];
      }
    }
    if (!redo) return;
    for (int s = 0; s < segments.count; ++s) {  // all rows: which of them would have to be remembered
      run_long_row(work, segments.row[s], slot + segments.begin[s], slot + segments.begin[s + 1], nullptr);
    }
  }

  // A row that is longer than a block, or a piece of one, with a running maximum.
  void run_long_row(Work& work, int64_t row, int64_t begin, int64_t end, T* piece) const {
    constexpr int W = kWidest<T>;
    T *sum = piece ? piece : out + row * shape.row;
    const auto total = scratch<T>(shape.wide() + 4);
    Segments segments;
    segments.count = 1;
    segments.row[0] = row;
    segments.begin[0] = 0;
    std::fill_n(work.running, shape.wide(), std::numeric_limits<T>::lowest());
    std::fill_n(total.get(), shape.wide() + 4, T(0));
    for (int64_t slot = begin; slot < end; slot += work.block_size) {
      const int n = int(std::min<int64_t>(work.block_size, end - slot));
      segments.begin[1] = n;
      score(work, segments, slot, n);
      for (int64_t c = 0; c < shape.wide(); c += W) {
        const auto before = load<W>(work.running + c), now = larger(load<W>(work.highest + c), before);
        store(work.shrink + c, exponential(before - now));
        store(work.running + c, now);
      }
      exponentiate(work, segments, slot, n, work.running);
      for (int64_t h = 0; h < shape.stride; ++h) total[h] = total[h] * work.shrink[h] + work.totals[h];
      const bool first = slot == begin;
      sum_segments(shape, segments, work.weights, nothing(), add_values(work),
                   [&, first, sum](int, const auto& column, auto of_block) __attribute__((always_inline)) {
                     if (!first) of_block += column.load(sum) * column.spread(work.shrink);
                     column.store(sum, of_block);
                   });
    }
    if (piece) {
      std::copy_n(total.get(), shape.heads, piece + shape.row);
      std::copy_n(work.running, shape.heads, piece + shape.row + shape.heads);
    } else {
      finish(row, total.get(), work.running);
    }
  }

  // out of a row divided by its total; where all scores are -infinity there is no softmax: everything is NaN.
  void finish(int64_t row, const T* total, const T* highest) const {
    for (int64_t h = 0; h < shape.heads; ++h) {
      T* to = out + row * shape.row + h * shape.width;
      for (int64_t f = 0; f < shape.width; ++f) to[f] *= T(1) / total[h];
      lse[row * shape.heads + h] = total[h] == 0 ? T(NAN) : highest[h] + logarithm(splat<4>(total[h]))[0];
    }
  }

  int64_t row_width() const { return shape.row; }
  int64_t piece_size() const { return shape.row + shape.heads * 2; }

  void join(int64_t row, const std::vector<const T*>& pieces, int) const {
    const int64_t heads = shape.heads;
    const auto memory = scratch<T>(heads * 2);
    T *total = memory.get(), *highest = total + heads;
    std::fill_n(total, heads, T(0));
    std::fill_n(highest, heads, std::numeric_limits<T>::lowest());
    std::fill_n(out + row * shape.row, shape.row, T(0));
    for (const T* piece : pieces) {
      for (int64_t h = 0; h < heads; ++h) highest[h] = std::max(highest[h], piece[shape.row + heads + h]);
    }
    for (const T* piece : pieces) {
      for (int64_t h = 0; h < heads; ++h) {
        const T shrink = exponential(piece[shape.row + heads + h] - highest[h]);
        total[h] += piece[shape.row + h] * shrink;
        T* to = out + row * shape.row + h * shape.width;
        for (int64_t f = 0; f < shape.width; ++f) to[f] += piece[h * shape.width + f] * shrink;
      }
    }
    finish(row, total, highest);
  }
};

// lse and <g, y> of each target and head, side by side for the passes over the edges: packed is [N, 2, pitch].
template <class T>
struct Gatv2Targets {
  const RowShape<T>& shape;
  const T *gradient, *out, *lse;
  T* packed;
  int64_t pitch;

  void run(Range range) const {
    const int64_t heads = shape.heads;
    const auto delta = scratch<T>(shape.room(kMaxEdges));
    EdgeRows<T> gradients, outs;
    for (int64_t first = range.begin; first < range.end; first += kMaxEdges) {
      const int n = int(std::min<int64_t>(kMaxEdges, range.end - first));
      for (int b = 0; b < n; ++b) {
        gradients.at[b] = gradient + (first + b) * shape.row;
        outs.at[b] = out + (first + b) * shape.row;
      }
      gradients.repeat_last(n);
      outs.repeat_last(n);
      sum_over_heads(shape, n, delta.get(), [&](int b, int64_t f, auto load) __attribute__((always_inline)) {
        return load(gradients[b] + f) * load(outs[b] + f);
      });
      for (int b = 0; b < n; ++b) {
        T* pack = packed + (first + b) * pitch * 2;
        for (int64_t h = 0; h < heads; ++h) {
          pack[h] = lse[(first + b) * heads + h];
          pack[pitch + h] = delta[b * shape.stride + h];
        }
        for (int64_t h = heads; h < pitch; ++h) pack[h] = pack[pitch + h] = 0;
      }
    }
  }
};

// lses and deltas of edges from their targets.
template <class T>
LCAT_INLINE void gather_targets(int64_t stride, const T* packed, const int64_t* target, int n, T* lses, T* deltas) {
  const auto copy = [&](auto size) __attribute__((always_inline)) {
    constexpr int kSize = decltype(size)::value;
    for (int b = 0; b < n; ++b) {
      const T* pack = packed + target[b] * kSize * 2;
      std::memcpy(lses + b * kSize, pack, kSize * sizeof(T));
      std::memcpy(deltas + b * kSize, pack + kSize, kSize * sizeof(T));
    }
  };
  if (stride == 1) return copy(std::integral_constant<int, 1>{});
  if (stride == 2) return copy(std::integral_constant<int, 2>{});
  if (stride == 4) return copy(std::integral_constant<int, 4>{});
  if (stride == 8) return copy(std::integral_constant<int, 8>{});
  for (int b = 0; b < n; ++b) {
    std::copy_n(packed + target[b] * stride * 2, stride, lses + b * stride);
    std::copy_n(packed + (target[b] * 2 + 1) * stride, stride, deltas + b * stride);
  }
}

// One pass over the edges. By target, the sums are those of dq; by source, of dk and dv. `own` is the query and `others`
// the keys, or the reverse; `mate` is the gradient and `mates` the values, or the reverse.
template <class T, bool BySource>
struct NarrowGatv2Pass {
  const RowShape<T>& shape;
  const T *own, *others, *mate, *mates, *att, *edge_weight, *packed;
  EdgeFeatures<T> features;
  SortedEdges edges;
  T *d_own, *d_mate;                  // each may be null; by source, d_mate may be d_own, which is then the sum of both
  T *d_edge_weight, *d_edge_attr;     // by target; each may be null
  T *att_sums, *matrix_sums;          // a row per part of H * F and count * H * F numbers, 0 at first; may be null
  bool att_by_edge;                   // whether att_sums are the whole gradient, made edge by edge
  T slope;
  Dropout dropout;
  std::atomic<bool>* large;  // becomes true where att_sums need att_by_edge

  int64_t row_width() const { return shape.row; }
  int64_t piece_size() const { return shape.row * 2; }

  // The sums of a block that begin in the block before, or go on in the next one or in another part.
  struct Ends {
    const T* from = nullptr;  // what the first segment has already
    T *first = nullptr, *last = nullptr;  // where the sums of the first and the last segment are left unfinished
  };

  void run(const Part& part, int index, const Pieces<T>& pieces) const {
    constexpr int W = kWidest<T>;
    const int64_t room = shape.room(kMaxEdges), last = edges.slots();
    const int block_size = edges_of_block<T>(shape.row);
    const EdgeFactors<T> factors(shape, dropout, edge_weight);
    const Dropout none(0, 0);
    const EdgeFactors<T> dropped(shape, d_edge_weight ? dropout : none, nullptr);
    const int64_t ahead = block_size;
    const auto memory = scratch<T>(room * 4 + piece_size());
    T *scores = memory.get(), *dots = scores + room, *lses = dots + room, *deltas = lses + room,
      *carry = deltas + room;
    const ShiftedRows<T> shifted(features, shape.row, block_size);
    EdgeRows<T> own_rows, other_rows, mate_rows, mates_rows, next_others, next_mates;
    int64_t target[kMaxEdges];
    Segments segments;
    segments.begin[0] = 0;
    int64_t row = part.rows.begin;
    bool carried = false;
    for (int64_t slot = part.begin; slot < part.end; slot += block_size) {
      const int n = int(std::min<int64_t>(block_size, part.end - slot));
      const int32_t *indices = edges.indices + slot, *edge_ids = edges.edge_ids + slot;
      segments.count = 0;
      for (int64_t at = slot; at < slot + n; ++row) {
        const int64_t end = std::min(edges.indptr[row + 1], slot + n);
        if (edges.indptr[row + 1] == edges.indptr[row]) {
          clear(row);
          continue;
        }
        segments.row[segments.count++] = row;
        segments.begin[segments.count] = int(end - slot);
        at = end;
        if (edges.indptr[row + 1] > end) break;  // it goes on in the next block
      }
      const bool goes_on = edges.indptr[segments.row[segments.count - 1] + 1] > slot + n;
      Ends ends;
      if (carried) ends.from = carry;
      if (segments.row[0] == part.rows.begin) ends.first = pieces.first;
      if (goes_on) ends.last = slot + n < part.end ? carry : pieces.last;
      if (goes_on && segments.count == 1) ends.first = nullptr;
      carried = goes_on;

      own_rows.repeat(own, shape.row, segments);
      mate_rows.repeat(mate, shape.row, segments);
      other_rows.gather(others, shape.row, indices, n);
      next_others.gather_ahead(others, shape.row, edges.indices, slot + ahead, last, n);
      mates_rows.gather(mates, shape.row, indices, n);
      next_mates.gather_ahead(mates, shape.row, edges.indices, slot + ahead, last, n);
      shifted.shift(other_rows, edge_ids, n);
      if constexpr (BySource) {
        for (int b = 0; b < n; ++b) {
          target[b] = indices[b];
          prefetch_row(packed + edges.indices[std::min(slot + ahead + b, last - 1)] * shape.stride * 2,
                       shape.stride * 2);
        }
      } else {
        for (int s = 0; s < segments.count; ++s) {
          std::fill(target + segments.begin[s], target + segments.begin[s + 1], segments.row[s]);
        }
      }
      sum_over_heads(shape, n, scores, [&, by = slope](int b, int64_t f, auto load) __attribute__((always_inline)) {
        __builtin_prefetch(next_others[b] + f);
        return leaky(load(other_rows[b] + f) + load(own_rows[b] + f), by) * load(att + f);
      });
      sum_over_heads(shape, n, dots, [&](int b, int64_t f, auto load) __attribute__((always_inline)) {
        __builtin_prefetch(next_mates[b] + f);
        return load(mates_rows[b] + f) * load(mate_rows[b] + f);
      });
      gather_targets(shape.stride, packed, target, n, lses, deltas);
      const T* multiplier = factors ? factors.of(edge_ids, n) : nullptr;
      if (d_edge_weight) {
        weight_gradient(edge_ids, n, scores, dots, lses, dropped ? dropped.of(edge_ids, n) : nullptr);
      }
      // scores -> coefficients times multiplier, dots -> ds
      for_coefficients(shape, n, [&](int64_t at, int64_t) __attribute__((always_inline)) {
        const auto p = exponential(load<W>(scores + at) - load<W>(lses + at));
        const auto dot = load<W>(dots + at), delta = load<W>(deltas + at);
        if (multiplier) {
          const auto m = load<W>(multiplier + at);
          store(dots + at, p * (dot * m - delta));
          store(scores + at, p * m);
        } else {
          store(dots + at, p * (dot - delta));
          store(scores + at, p);
        }
      });
      if (BySource && d_mate) sum_mates(segments, mates_rows, scores, ends);
      if (d_own || (att_sums && !att_by_edge)) sum_own(segments, other_rows, dots, ends, index);
      if (att_sums && att_by_edge) add_att(other_rows, own_rows, n, dots, att_sums + index * shape.row);
      if (features && matrix_sums) {
        for (int b = 0; b < n; ++b) {
          const int64_t e = edge_ids[b];
          T* d_attr = d_edge_attr ? d_edge_attr + e * features.count : nullptr;
          feature_gradients(features, att, other_rows[b], own_rows[b], dots + b * shape.stride, 1, shape.heads,
                            shape.width, slope, features.attr + e * features.count, d_attr,
                            matrix_sums + index * features.count * shape.row);
        }
      }
    }
    for (; row < part.rows.end; ++row) {
      if (edges.indptr[row + 1] == edges.indptr[row]) clear(row);
    }
  }

  // Nothing of a row without edges counts, infinite or not.
  void clear(int64_t row) const {
    if (d_own) std::fill_n(d_own + row * shape.row, shape.row, T(0));
    if (d_mate) std::fill_n(d_mate + row * shape.row, shape.row, T(0));
  }

  // Where the sum of segment s is left unfinished, or null.
  static LCAT_INLINE T* unfinished(const Segments& segments, const Ends& ends, int s) {
    if (s == segments.count - 1 && ends.last) return ends.last;
    return s == 0 ? ends.first : nullptr;
  }

  void sum_mates(const Segments& segments, const EdgeRows<T>& rows, const T* weights, const Ends& ends) const {
    sum_segments(
        shape, segments, weights,
        [](int, const auto&) __attribute__((always_inline)) { return Vector<T, kWidest<T>>{}; },
        [&](auto sum, auto w, auto, int b, const auto& column) __attribute__((always_inline)) {
          return sum + w * column.load(rows[b]);
        },
        [&](int s, const auto& column, auto sum) __attribute__((always_inline)) {
          if (s == 0 && ends.from) sum += column.load(ends.from + shape.row);
          T* to = unfinished(segments, ends, s);
          column.store(to ? to + shape.row : d_mate + segments.row[s] * shape.row, sum);
        });
  }

  void sum_own(const Segments& segments, const EdgeRows<T>& rows, const T* ds, const Ends& ends, int index) const {
    T* att_sum = att_sums && !att_by_edge ? att_sums + index * shape.row : nullptr;
    sum_segments(
        shape, segments, ds,
        [&](int s, const auto& column) __attribute__((always_inline)) {
          return column.load(own + segments.row[s] * shape.row);
        },
        [&, below = slope](auto sum, auto of_edge, auto mine, int b, const auto& column) __attribute__((always_inline)) {
          using V = decltype(sum);
          const V z = column.load(rows[b]) + mine;
          if constexpr (BySource) {
            return V(sum + of_edge * (z > T(0) ? splat<kLanes<V>>(T(1)) : splat<kLanes<V>>(below)));
          } else {
            return add_where_positive(sum, z, of_edge);
          }
        },
        [&](int s, const auto& column, auto sum) __attribute__((always_inline)) {
          if (s == 0 && ends.from) sum += column.load(ends.from);
          if (T* to = unfinished(segments, ends, s)) return column.store(to, sum);
          if constexpr (!BySource) sum *= 1 - slope;
          const int64_t offset = segments.row[s] * shape.row;
          if (att_sum) {
            const auto mine = column.load(own + offset);
            column.store(att_sum, column.load(att_sum) + sum * mine);
            watch(mine);
          }
          if (d_own == nullptr) return;
          sum *= column.load(att);
          if (BySource && d_own == d_mate) sum += column.load(d_own + offset);
          column.store(d_own + offset, sum);
        });
  }

  // Says so if a row has numbers that are too large for att_sums, or that are none.
  template <class V>
  LCAT_INLINE void watch(V own) const {
    constexpr T limit = T(1 << 30);
    const auto within = (own < limit) & (own > -limit);
    bool all = true;
    for (int i = 0; i < kLanes<V>; ++i) all &= within[i] != 0;
    if (!all) *large = true;
  }

  // The pieces of a row as one segment that has no edges of its own.
  void join(int64_t row, const std::vector<const T*>& pieces, int index) const {
    const auto sum = scratch<T>(piece_size());
    std::fill_n(sum.get(), piece_size(), T(0));
    for (const T* piece : pieces) {
      if (d_own || (att_sums && !att_by_edge)) {
        for (int64_t f = 0; f < shape.row; ++f) sum[f] += piece[f];
      }
      if (BySource && d_mate) {
        for (int64_t f = shape.row; f < shape.row * 2; ++f) sum[f] += piece[f];
      }
    }
    Segments segments;
    segments.count = 1;
    segments.row[0] = row;
    segments.begin[0] = segments.begin[1] = 0;
    const EdgeRows<T> none{};
    const auto coefficients = scratch<T>(shape.room(1));
    Ends ends;
    ends.from = sum.get();
    if (BySource && d_mate) sum_mates(segments, none, coefficients.get(), ends);
    if (d_own || (att_sums && !att_by_edge)) sum_own(segments, none, coefficients.get(), ends, index);
  }

  void add_att(const EdgeRows<T>& rows, const EdgeRows<T>& own_rows, int n, const T* ds, T* to) const {
    for (int b = 0; b < n; ++b) {
      for (int64_t h = 0; h < shape.heads; ++h) {
        const T pull = ds[b * shape.stride + h];
        for (int64_t f = h * shape.width; f < (h + 1) * shape.width; ++f) {
          const T z = rows[b][f] + own_rows[b][f];
          to[f] += pull * (z > 0 ? z : z * slope);
        }
      }
    }
  }

  void weight_gradient(const int32_t* edge_ids, int n, const T* scores, const T* dots, const T* lses,
                       const T* kept) const {
    for (int b = 0; b < n; ++b) {
      T sum = 0;
      for (int64_t h = 0; h < shape.heads; ++h) {
        const int64_t at = b * shape.stride + h;
        sum += exponential(scores[at] - lses[at]) * (kept ? kept[at] : T(1)) * dots[at];
      }
      d_edge_weight[edge_ids[b]] = sum;
    }
  }
};

}  // namespace lcat
