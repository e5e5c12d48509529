// The softmax over the edges of each target and the weighted sums of its rows, for rows of any width: the edges of several
// nodes fill a block, and rows with many edges are cut.
#pragma once

#include "parts.h"
#include "rows.h"

namespace lcat {

// y_i = sum_{j -> i} w_ij softmax_j(score_ij) v_j. `Scores` has the score of an attention:
//     struct Work                      what the blocks of one part share; its `values` are the rows of a block's edges,
//                                      and fetch_values(b, offset) may request numbers of later ones
//     void make(Work&, const Segments&, int64_t slot, int n, T* scores)       the scores of n edges from `slot` on
//     int64_t row_width()              numbers of the rows that are read at an edge
//     int block_size()                 edges of a block
//     kTwoSums                         whether there is a second sum, of `more_values` in the shape `more_shape()`,
//                                      which may be null; more_shared() is the width of these values where all heads
//                                      have the same, else 0
template <class T, class Scores>
struct RowAttention {
  const RowShape<T>& shape;
  const Scores& score;
  const T* edge_weight;  // may be null
  SortedEdges edges;
  T *out, *lse, *more_out;  // the last is that of the second sum
  Dropout dropout;

  // What the blocks of one part share.
  struct Work {
    const EdgeFactors<T> factors;
    const int block_size;
    const Memory<T> memory;
    T *scores, *weights, *totals, *inverse, *highest, *running, *shrink;
    typename Scores::Work rows;

    explicit Work(const RowAttention& kernel)
        : factors(kernel.shape, kernel.dropout, kernel.edge_weight),
          block_size(kernel.score.block_size()),
          memory(scratch<T>(kernel.shape.room(kMaxEdges) * 4 + kernel.shape.wide() * 3)),
          rows(kernel.score, block_size) {
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

  // body(shape, add, out, offset in a piece) for each of the sums; add: see sum_segments.
  template <class Body>
  LCAT_INLINE void each_sum(const Work& work, const Body& body) const {
    const auto fetch = [&](int b, int64_t f) __attribute__((always_inline)) { work.rows.fetch_values(b, f); };
    body(shape, add_rows(work.rows.values, 0, fetch), out, int64_t(0));
    if constexpr (Scores::kTwoSums) {
      const auto nothing = [](int, int64_t) __attribute__((always_inline)) {};
      if (const RowShape<T>* more = score.more_shape()) {
        body(*more, add_rows(work.rows.more_values, score.more_shared(), nothing), more_out, shape.row);
      }
    }
  }

  // Numbers of all sums of one target.
  int64_t sums_width() const {
    if constexpr (Scores::kTwoSums) {
      if (const RowShape<T>* more = score.more_shape()) return shape.row + more->row;
    }
    return shape.row;
  }

  void clear(int64_t row) const {
    std::fill_n(out + row * shape.row, shape.row, T(0));
    std::fill_n(lse + row * shape.heads, shape.heads, T(0));
    const int64_t more = sums_width() - shape.row;
    if (more > 0) std::fill_n(more_out + row * more, more, T(0));
  }

  void run(const Part& part, int, const Pieces<T>& pieces) const {
    Work work(*this);
    Segments segments;
    int64_t slot = part.begin;  // where the block begins that is being filled
    segments.begin[0] = 0;
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      const int64_t begin = std::max(edges.indptr[i], part.begin), end = std::min(edges.indptr[i + 1], part.end);
      if (begin == end) {
        clear(i);
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

  static auto nothing() {
    return [](int, const auto&) __attribute__((always_inline)) { return Vector<T, kWidest<T>>{}; };
  }
  template <class Meanwhile>
  static auto add_rows(const EdgeRows<T>& rows, int64_t shared, const Meanwhile& meanwhile) {
    return [&rows, shared, meanwhile](auto sum, auto w, auto, int b, const auto& column) __attribute__((always_inline)) {
      meanwhile(b, column.offset);
      return sum + w * column.load(rows[b] - column.head * shared);
    };
  }

  void make_scores(Work& work, const Segments& segments, int64_t slot, int n) const {
    score.make(work.rows, segments, slot, n, work.scores);
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
    make_scores(work, segments, slot, n);
    exponentiate(work, segments, slot, n, work.highest);
    bool redo = false;
    for (int64_t at = 0; at < segments.count * shape.stride; at += 4) {
      const auto total = load<4>(work.totals + at);
      store(work.inverse + at, T(1) / total);
    }
    for (int s = 0; s < segments.count; ++s) {
      for (int64_t h = 0; h < shape.heads; ++h) redo |= work.totals[s * shape.stride + h] < far_below;
    }
    each_sum(work, [&](const RowShape<T>& of, const auto& add, T* to, int64_t) {
      sum_segments(
          of, segments, work.weights, nothing(), add,
          [&](int s, const auto& column, auto sum) __attribute__((always_inline)) {
            column.store(to + segments.row[s] * of.row, sum * column.spread(work.inverse + s * shape.stride));
          });
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
      make_scores(work, segments, slot, n);
      for (int64_t c = 0; c < shape.wide(); c += W) {
        const auto before = load<W>(work.running + c), now = larger(load<W>(work.highest + c), before);
        store(work.shrink + c, exponential(before - now));
        store(work.running + c, now);
      }
      exponentiate(work, segments, slot, n, work.running);
      for (int64_t h = 0; h < shape.stride; ++h) total[h] = total[h] * work.shrink[h] + work.totals[h];
      const bool first = slot == begin;
      each_sum(work, [&](const RowShape<T>& of, const auto& add, T* whole, int64_t offset) {
        T* sum = piece ? piece + offset : whole + row * of.row;
        sum_segments(of, segments, work.weights, nothing(), add,
                     [&](int, const auto& column, auto of_block) __attribute__((always_inline)) {
                       if (!first) of_block += column.load(sum) * column.spread(work.shrink);
                       column.store(sum, of_block);
                     });
      });
    }
    if (piece) {
      std::copy_n(total.get(), shape.heads, piece + sums_width());
      std::copy_n(work.running, shape.heads, piece + sums_width() + shape.heads);
    } else {
      finish(row, total.get(), work.running);
    }
  }

  // The sums of a row divided by its total; where all scores are -infinity there is no softmax: everything is NaN.
  void finish(int64_t row, const T* total, const T* highest) const {
    const int64_t more = sums_width() - shape.row;
    for (int64_t h = 0; h < shape.heads; ++h) {
      const T inverse = T(1) / total[h];
      scale_head(out + row * shape.row, shape.width, h, inverse);
      if (more > 0) scale_head(more_out + row * more, more / shape.heads, h, inverse);
      lse[row * shape.heads + h] = total[h] == 0 ? T(NAN) : highest[h] + logarithm(splat<4>(total[h]))[0];
    }
  }

  static void scale_head(T* row, int64_t width, int64_t h, T factor) {
    for (int64_t f = h * width; f < (h + 1) * width; ++f) row[f] *= factor;
  }

  int64_t row_width() const { return score.row_width(); }
  int64_t piece_size() const { return sums_width() + shape.heads * 2; }

  void join(int64_t row, const std::vector<const T*>& pieces, int) const {
    const int64_t heads = shape.heads, sums = sums_width(), more = sums - shape.row;
    const auto memory = scratch<T>(heads * 2);
    T *total = memory.get(), *highest = total + heads;
    clear(row);
    std::fill_n(total, heads, T(0));
    std::fill_n(highest, heads, std::numeric_limits<T>::lowest());
    for (const T* piece : pieces) {
      for (int64_t h = 0; h < heads; ++h) highest[h] = std::max(highest[h], piece[sums + heads + h]);
    }
    for (const T* piece : pieces) {
      for (int64_t h = 0; h < heads; ++h) {
        const T shrink = exponential(piece[sums + heads + h] - highest[h]);
        total[h] += piece[sums + h] * shrink;
        add_head(piece, shape.width, h, shrink, out + row * shape.row);
        if (more > 0) add_head(piece + shape.row, more / heads, h, shrink, more_out + row * more);
      }
    }
    finish(row, total, highest);
  }

  static void add_head(const T* from, int64_t width, int64_t h, T factor, T* to) {
    for (int64_t f = h * width; f < (h + 1) * width; ++f) to[f] += from[f] * factor;
  }
};

// lse and <g, y> of each target and head, side by side for the passes over the edges: packed is [N, 2, pitch]. Where there
// is a second sum, the product of its gradient and itself is added.
template <class T>
struct AttentionTargets {
  const RowShape<T>& shape;
  const T *gradient, *out, *lse;
  T* packed;
  int64_t pitch;
  const RowShape<T>* more_shape = nullptr;
  const T *more_gradient = nullptr, *more_out = nullptr;

  void run(Range range) const {
    const int64_t heads = shape.heads;
    const auto delta = scratch<T>(shape.room(kMaxEdges)), more = scratch<T>(more_shape ? shape.room(kMaxEdges) : 0);
    for (int64_t first = range.begin; first < range.end; first += kMaxEdges) {
      const int n = int(std::min<int64_t>(kMaxEdges, range.end - first));
      products(shape, gradient, out, first, n, delta.get());
      if (more_shape) {
        products(*more_shape, more_gradient, more_out, first, n, more.get());
        for (int64_t at = 0; at < n * shape.stride; ++at) delta[at] += more[at];
      }
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

  static void products(const RowShape<T>& shape, const T* a, const T* b, int64_t first, int n, T* out) {
    EdgeRows<T> a_rows, b_rows;
    for (int i = 0; i < n; ++i) {
      a_rows.at[i] = a + (first + i) * shape.row;
      b_rows.at[i] = b + (first + i) * shape.row;
    }
    a_rows.repeat_last(n);
    b_rows.repeat_last(n);
    sum_over_heads(shape, n, out, [&](int i, int64_t f, auto load) __attribute__((always_inline)) {
      return load(a_rows[i] + f) * load(b_rows[i] + f);
    });
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

}  // namespace lcat
