// gatv2_attention for rows of a few vectors: the edges of several nodes fill a block, and rows with many edges are cut.
#pragma once

#include "edge_features.h"
#include "parts.h"
#include "row_attention.h"
#include "rows.h"

namespace lcat {

// The scores of a block of edges.
template <class T>
struct NarrowGatv2Scores {
  static constexpr bool kTwoSums = false;
  const RowShape<T>& shape;
  const T *key, *query, *value, *att;  // value may be key
  EdgeFeatures<T> features;
  const SortedEdges& edges;
  T slope;

  struct Work {
    const ShiftedRows<T> shifted;
    const int64_t last, ahead;
    EdgeRows<T> keys, other_values, queries, next_keys;
    const EdgeRows<T>& values;

    Work(const NarrowGatv2Scores& scores, int block_size)
        : shifted(scores.features, scores.shape.row, block_size),
          last(scores.edges.slots()),
          ahead(block_size),
          values(scores.value == scores.key && !scores.features ? keys : other_values) {}

    LCAT_INLINE void fetch_values(int, int64_t) const {}
  };

  int64_t row_width() const { return shape.row; }
  int block_size() const { return edges_of_block<T>(shape.row); }

  LCAT_INLINE void make(Work& work, const Segments& segments, int64_t slot, int n, T* scores) const {
    const int32_t *indices = edges.indices + slot, *edge_ids = edges.edge_ids + slot;
    work.keys.gather(key, shape.row, indices, n);
    work.next_keys.gather_ahead(key, shape.row, edges.indices, slot + work.ahead, work.last, n);
    if (&work.values != &work.keys) work.other_values.gather(value, shape.row, indices, n);
    work.shifted.shift(work.keys, edge_ids, n);
    work.queries.repeat(query, shape.row, segments);
    sum_over_heads(shape, n, scores, [&, by = slope](int b, int64_t f, auto load) __attribute__((always_inline)) {
      __builtin_prefetch(work.next_keys[b] + f);
      return leaky(load(work.keys[b] + f) + load(work.queries[b] + f), by) * load(att + f);
    });
  }
};

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
