// aggregate: y_i = t_i sum_{j -> i} w_ij s_j x_j, and the gradient of w.
#include <cstdint>
#include <new>

#include "export.h"
#include "parts.h"

namespace lcat {
namespace {

template <class T>
struct Aggregate {
  const T* x;
  const T* weight;                    // [E, heads], or null for ones
  const T *source_scale, *target_scale;  // s and t, or null for ones
  SortedEdges edges;
  T* out;
  int64_t heads, width;  // a row of x is heads * width numbers

  int64_t row_width() const { return heads * width; }
  int64_t piece_size() const { return row_width(); }

  void run(const Part& part, int, const Pieces<T>& pieces) const {
    with_head_shape<T>(width, [&](auto shape) { run(shape, part, pieces); });
  }

  void join(int64_t row, const std::vector<const T*>& pieces, int) const {
    T* sum = out + row * row_width();
    std::fill_n(sum, row_width(), T(0));
    for (const T* piece : pieces) {
      for (int64_t f = 0; f < row_width(); ++f) sum[f] += piece[f];
    }
  }

  // Where the sum over a part's slots of row i belongs.
  T* sum_of(int64_t i, const Part& part, const Pieces<T>& pieces) const {
    if (i == part.rows.end - 1 && pieces.last) return pieces.last;
    return i == part.rows.begin && pieces.first ? pieces.first : out + i * row_width();
  }

  template <class Shape>
  void run(const Shape& shape, const Part& part, const Pieces<T>& pieces) const {
    const int64_t row_width = heads * width, last = edges.slots();
    if (heads == 1) {
      return weight ? run_in_registers<Shape, true>(shape, part, pieces)
                    : run_in_registers<Shape, false>(shape, part, pieces);
    }
    const int block_size = block_length<T>(row_width);
    const int64_t ahead = prefetch_distance<T>(row_width);
    const Upcoming<T> upcoming{x, row_width, edges.indices, last};
    const auto weights = scratch<T>(kMaxEdges * heads);
    const bool scaled = source_scale || target_scale;
    if (weight == nullptr) std::fill_n(weights.get(), kMaxEdges * heads, T(1));
    Rows<T> gathered, weight_rows;
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      const int64_t begin = std::max(edges.indptr[i], part.begin), end = std::min(edges.indptr[i + 1], part.end);
      T* sum = sum_of(i, part, pieces);
      if (begin == end) std::fill_n(sum, row_width, target_scale ? T(0) * target_scale[i] : T(0));
      for (int64_t slot = begin; slot < end; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, end - slot));
        gathered.gather(x, row_width, edges.indices + slot, n);
        if (weight != nullptr) {
          for (int b = 0; b < n; ++b) {
            prefetch_row(weight + edges.edge_ids[std::min(slot + 2 * ahead + b, last - 1)] * heads, heads);
          }
          weight_rows.gather(weight, heads, edges.edge_ids + slot, n);
          gather_heads(weight_rows.at, n, heads, weights.get());
        }
        if (scaled) scale(slot, n, target_scale ? target_scale[i] : T(1), weights.get());
        const auto meanwhile = [&](int b) { return upcoming.quad(slot + ahead + b); };
        if (slot == begin) {
          add_weighted_rows<true>(shape, gathered.at, n, heads, weights.get(), sum, meanwhile);
        } else {
          add_weighted_rows<false>(shape, gathered.at, n, heads, weights.get(), sum, meanwhile);
        }
      }
    }
  }

  // With one head, sums stay in registers, some columns of a row after others: those of GCN, of L-CAT's scores, and of
  // linear maps of sparse features. A block of gathered pointers would cost more than short rows.
  static constexpr int kMaxVectors = 8;

  template <class Shape, bool Weighted>
  void run_in_registers(const Shape&, const Part& part, const Pieces<T>& pieces) const {
    constexpr int L = Shape::Lanes;
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      const int64_t begin = std::max(edges.indptr[i], part.begin), end = std::min(edges.indptr[i + 1], part.end);
      T* sum = sum_of(i, part, pieces);
      const T own = target_scale ? target_scale[i] : T(1);
      if constexpr (Shape::kCount > 0) {
        sum_columns<L, Shape::kCount, Weighted>(begin, end, own, 0, L, sum);
      } else {  // some vectors of all rows, then the next ones
        int64_t f = 0;
        for (; f + kMaxVectors * L <= width; f += kMaxVectors * L) {
          sum_columns<L, kMaxVectors, Weighted>(begin, end, own, f, L, sum);
        }
        for (; f + 2 * L <= width; f += 2 * L) sum_columns<L, 2, Weighted>(begin, end, own, f, L, sum);
        for (; f < width; f += L) {
          sum_columns<L, 1, Weighted>(begin, end, own, f, int(std::min<int64_t>(L, width - f)), sum);
        }
      }
    }
  }

  // Numbers f, f + 1, ... of a row's sum: Count vectors, of which a single one may have fewer lanes.
  template <int L, int Count, bool Weighted>
  LCAT_INLINE void sum_columns(int64_t slot, int64_t end, T own, int64_t f, int lanes, T* sum) const {
    using V = Vector<T, L>;
    const int64_t last = edges.slots(), ahead = prefetch_distance<T>(width);
    const bool whole = Count > 1 || lanes == L;
    V sums[Count] = {};
    const auto factor = [&](int64_t slot) __attribute__((always_inline)) {
      const T scale = source_scale ? source_scale[edges.indices[slot]] : T(1);
      return splat<L>(Weighted ? weight[edges.edge_ids[slot]] * scale : scale);
    };
    const auto number = [&](int64_t slot, int v) __attribute__((always_inline)) {
      const T* row = x + edges.indices[slot] * width + f + v * L;
      return whole ? load<L>(row) : Partial<L, T>::load(row, lanes);
    };
    // Four edges at a time, and in the order of add_weighted_rows: the same bits whichever way a sum takes.
    for (; slot + 4 <= end; slot += 4) {
      for (int b = 0; b < 4; ++b) request(std::min(slot + ahead + b, last - 1), f, Count * L, Weighted);
      const V w0 = factor(slot), w1 = factor(slot + 1), w2 = factor(slot + 2), w3 = factor(slot + 3);
#pragma GCC unroll 8
      for (int v = 0; v < Count; ++v) {
        sums[v] += (number(slot, v) * w0 + number(slot + 1, v) * w1) +
                   (number(slot + 2, v) * w2 + number(slot + 3, v) * w3);
      }
    }
    for (; slot < end; ++slot) {
      request(std::min(slot + ahead, last - 1), f, Count * L, Weighted);
      const V w = factor(slot);
#pragma GCC unroll 8
      for (int v = 0; v < Count; ++v) sums[v] += number(slot, v) * w;
    }
    const V by = splat<L>(own);
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) {
      if (whole) {
        store(sum + f + v * L, sums[v] * by);
      } else {
        Partial<L, T>::store(sum + f + v * L, sums[v] * by, lanes);
      }
    }
  }

  // What a later slot needs of x, and its weight with the first numbers of the row.
  LCAT_INLINE void request(int64_t slot, int64_t f, int64_t count, bool weighted) const {
    prefetch_row(x + edges.indices[slot] * width + f, count);
    if (weighted && f == 0) __builtin_prefetch(weight + edges.edge_ids[slot], 0, 3);
  }

  // The scales become part of the weights: rows are then read and written once.
  LCAT_INLINE void scale(int64_t slot, int n, T own, T* weights) const {
    for (int b = 0; b < n; ++b) {
      const T factor = source_scale ? source_scale[edges.indices[slot + b]] * own : own;
      for (int64_t h = 0; h < heads; ++h) {
        T& w = weights[quad_order(b, h, heads)];
        w = weight ? w * factor : factor;
      }
    }
  }
};

// d w_ij = <g_i, x_j>, over all heads or for each.
template <class T>
struct WeightGradient {
  const T* gradient;
  const T* x;
  SortedEdges edges;
  T* out;  // [E, heads]
  int64_t heads, width;

  int64_t row_width() const { return heads * width; }
  int64_t piece_size() const { return 0; }  // nothing is summed over rows
  void join(int64_t, const std::vector<const T*>&, int) const {}

  void run(const Part& part, int, const Pieces<T>&) const {
    with_head_shape<T>(width, [&](auto shape) { run(shape, part); });
  }

  template <class Shape>
  void run(const Shape& shape, const Part& part) const {
    const int64_t row_width = heads * width, last = edges.slots();
    const int block_size = block_length<T>(row_width);
    const auto dots = scratch<T>(kMaxEdges * heads);
    const Upcoming<T> upcoming{x, row_width, edges.indices, last};
    const int64_t ahead = prefetch_distance<T>(row_width);
    Rows<T> gathered;
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      const int64_t begin = std::max(edges.indptr[i], part.begin), end = std::min(edges.indptr[i + 1], part.end);
      for (int64_t slot = begin; slot < end; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, end - slot));
        gathered.gather(x, row_width, edges.indices + slot, n);
        dot_rows(shape, gathered.at, n, heads, gradient + i * row_width, upcoming, slot + ahead, dots.get());
        for (int b = 0; b < n; ++b) {
          for (int64_t h = 0; h < heads; ++h) out[edges.edge_ids[slot + b] * heads + h] = dots[quad_order(b, h, heads)];
        }
      }
    }
  }
};

}  // namespace
}  // namespace lcat

#define LCAT_AGGREGATE(NAME, T)                                                                                    \
  LCAT_EXPORT int lcat_aggregate_##NAME(const T* x, const T* weight, const T* source_scale, const T* target_scale, \
      const int64_t* indptr, const int32_t* indices, const int32_t* edge_ids, int64_t count, int64_t others,       \
      int64_t per_edge, T* out, int64_t rows, int64_t heads, int64_t width, int threads) {                         \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                       \
    try {                                                                                                          \
      return lcat::launch_parts<T>(                                                                                \
          lcat::Aggregate<T>{x, weight, source_scale, target_scale, edges, out, heads, width}, threads, 1);        \
    } catch (const std::bad_alloc&) {                                                                              \
      return lcat::kNoMemory;                                                                                      \
    }                                                                                                              \
  }                                                                                                                \
  LCAT_EXPORT int lcat_aggregate_weight_##NAME(const T* gradient, const T* x, const int64_t* indptr,               \
      const int32_t* indices, const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, T* out,    \
      int64_t rows, int64_t heads, int64_t width, int threads) {                                                   \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                       \
    return lcat::launch_parts<T>(lcat::WeightGradient<T>{gradient, x, edges, out, heads, width}, threads, 1);      \
  }
LCAT_AGGREGATE(f32, float)
LCAT_AGGREGATE(f64, double)
