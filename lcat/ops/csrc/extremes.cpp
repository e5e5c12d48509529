// extremes: y_i = max or min over j -> i of w_ij x_j, how many edges reach it, and the gradients of x and w.
#include <cstdint>
#include <new>
#include <type_traits>

#include "export.h"
#include "parts.h"

namespace lcat {
namespace {

// Calls body(vectors, load, store, offset) for groups of up to four vectors of a head: what a pass over the edges of a
// row keeps in registers.
template <class Shape, class Body>
LCAT_INLINE void each_group(const Shape& shape, Body&& body) {
  using T = typename Shape::T;
  using V = typename Shape::V;
  constexpr int kLanes = Shape::Lanes, kGroup = Shape::kCount > 0 && Shape::kCount < 4 ? Shape::kCount : 4;
  const auto load = [](const T* p) __attribute__((always_inline)) { return lcat::load<kLanes>(p); };
  const auto store = [](T* p, V v) __attribute__((always_inline)) { lcat::store(p, v); };
  int64_t f = 0;
  for (; f + kGroup * kLanes <= shape.width; f += kGroup * kLanes) {
    body(std::integral_constant<int, kGroup>(), load, store, f);
  }
  if constexpr (Shape::kCount == 0) {
    for (; f + kLanes <= shape.width; f += kLanes) body(std::integral_constant<int, 1>(), load, store, f);
    if (f < shape.width) {
      const int rest = int(shape.width - f);
      body(std::integral_constant<int, 1>(),
           [rest](const T* p) __attribute__((always_inline)) { return Partial<kLanes, T>::load(p, rest); },
           [rest](T* p, V v) __attribute__((always_inline)) { Partial<kLanes, T>::store(p, v, rest); }, f);
    }
  }
}

template <class V>
LCAT_INLINE V one_where(Ints<V> condition) {
  return (V)((Ints<V>)(V{} + 1) & condition);
}

template <class T>
struct Extremes {
  const T* x;
  const T* weight;  // [E, heads], or null for ones
  SortedEdges edges;
  T *out, *ties;  // ties may be null
  int64_t heads, width;
  bool largest;

  int64_t row_width() const { return heads * width; }
  int64_t piece_size() const { return 2 * row_width(); }

  void run(const Part& part, int, const Pieces<T>& pieces) const {
    with_head_shape<T>(width, [&](auto shape) {
      if (largest) {
        run<true>(shape, part, pieces);
      } else {
        run<false>(shape, part, pieces);
      }
    });
  }

  template <bool Largest, class V>
  static LCAT_INLINE auto beats(V a, V b) {
    if constexpr (Largest) return a > b;
    else return a < b;
  }

  template <bool Largest, class Shape>
  void run(const Shape& shape, const Part& part, const Pieces<T>& pieces) const {
    using V = typename Shape::V;
    const int64_t row_width = heads * width, last = edges.slots(), ahead = prefetch_distance<T>(row_width);
    const auto unused = scratch<T>(ties ? 0 : row_width);
    for (int64_t i = part.rows.begin; i < part.rows.end; ++i) {
      const int64_t begin = std::max(edges.indptr[i], part.begin), end = std::min(edges.indptr[i + 1], part.end);
      T* piece = i == part.rows.end - 1 && pieces.last ? pieces.last : i == part.rows.begin ? pieces.first : nullptr;
      T* best_row = piece ? piece : out + i * row_width;
      T* ties_row = piece ? piece + row_width : ties ? ties + i * row_width : unused.get();
      if (begin == end) {
        std::fill_n(best_row, row_width, T(0));
        std::fill_n(ties_row, row_width, T(0));
        continue;
      }
      for (int64_t h = 0; h < heads; ++h) {
        each_group(shape, [&](auto vectors, auto load, auto store, int64_t f) __attribute__((always_inline)) {
          constexpr int kVectors = decltype(vectors)::value;
          const T* column = x + h * width + f;
          V best[kVectors], count[kVectors];
          const auto message = [&](int64_t slot, int v) __attribute__((always_inline)) {
            const V row = load(column + edges.indices[slot] * row_width + v * Shape::Lanes);
            return weight ? row * splat<Shape::Lanes>(weight[edges.edge_ids[slot] * heads + h]) : row;
          };
          for (int v = 0; v < kVectors; ++v) best[v] = message(begin, v), count[v] = V{} + 1;
          for (int64_t slot = begin + 1; slot < end; ++slot) {
            prefetch_row(column + edges.indices[std::min(slot + ahead, last - 1)] * row_width, kVectors * Shape::Lanes);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
              const V m = message(slot, v);
              const auto better = beats<Largest>(m, best[v]);
              count[v] = better ? V{} + 1 : count[v] + one_where<V>(m == best[v]);
              best[v] = (better | (m != m)) ? m : best[v];  // as in torch, one NaN makes a NaN
            }
          }
          for (int v = 0; v < kVectors; ++v) {
            const int64_t at = h * width + f + v * Shape::Lanes;
            store(best_row + at, best[v]);
            if (!piece) {  // see `counted`
              const V all = count[v] + one_where<V>(best[v] == V{});
              count[v] = best[v] == best[v] ? all : best[v];
            }
            store(ties_row + at, count[v]);
          }
        });
      }
    }
  }

  void join(int64_t row, const std::vector<const T*>& pieces, int) const {
    const int64_t row_width = heads * width;
    for (int64_t f = 0; f < row_width; ++f) {
      T best = pieces[0][f], count = pieces[0][row_width + f];
      for (size_t p = 1; p < pieces.size(); ++p) {
        const T m = pieces[p][f], more = pieces[p][row_width + f];
        if ((largest ? m > best : m < best) || m != m) {
          best = m, count = more;
        } else if (m == best) {
          count += more;
        }
      }
      out[row * row_width + f] = best;
      if (ties) ties[row * row_width + f] = counted(best, count);
    }
  }

  // What a gradient is divided by. Torch starts from a zero that it counts where it equals the result, and its gradients
  // are NaN where the result is.
  static T counted(T best, T count) { return best == best ? count + T(best == T(0)) : best; }
};

// d x_j = sum over j -> i of w_ij s_i where w_ij x_j = y_i, and d w_ij = sum over features of s_i x_j there.
template <class T>
struct ExtremesGradient {
  const T* x;
  const T* weight;  // [E, heads], or null for ones
  const T *best, *share;
  SortedEdges edges;  // by source
  T* d_x;
  T* d_weight;  // [E, heads] zeros, or null
  int64_t heads, width;

  int64_t row_width() const { return heads * width; }
  int64_t piece_size() const { return row_width(); }

  void join(int64_t row, const std::vector<const T*>& pieces, int) const {
    T* sum = d_x + row * row_width();
    std::fill_n(sum, row_width(), T(0));
    for (const T* piece : pieces) {
      for (int64_t f = 0; f < row_width(); ++f) sum[f] += piece[f];
    }
  }

  void run(const Part& part, int, const Pieces<T>& pieces) const {
    with_head_shape<T>(width, [&](auto shape) { run(shape, part, pieces); });
  }

  template <class Shape>
  void run(const Shape& shape, const Part& part, const Pieces<T>& pieces) const {
    using V = typename Shape::V;
    const int64_t row_width = heads * width, last = edges.slots(), ahead = prefetch_distance<T>(2 * row_width);
    for (int64_t j = part.rows.begin; j < part.rows.end; ++j) {
      const int64_t begin = std::max(edges.indptr[j], part.begin), end = std::min(edges.indptr[j + 1], part.end);
      T* piece = j == part.rows.end - 1 && pieces.last ? pieces.last : j == part.rows.begin ? pieces.first : nullptr;
      T* sum = piece ? piece : d_x + j * row_width;
      for (int64_t h = 0; h < heads; ++h) {
        each_group(shape, [&](auto vectors, auto load, auto store, int64_t f) __attribute__((always_inline)) {
          constexpr int kVectors = decltype(vectors)::value;
          const int64_t column = h * width + f;
          V own[kVectors], total[kVectors] = {};
          for (int v = 0; v < kVectors; ++v) own[v] = load(x + j * row_width + column + v * Shape::Lanes);
          for (int64_t slot = begin; slot < end; ++slot) {
            const int64_t next = edges.indices[std::min(slot + ahead, last - 1)] * row_width + column;
            prefetch_row(best + next, kVectors * Shape::Lanes);
            prefetch_row(share + next, kVectors * Shape::Lanes);
            const int64_t at = edges.indices[slot] * row_width + column;
            const int64_t number = weight ? edges.edge_ids[slot] * heads + h : 0;
            const V w = splat<Shape::Lanes>(weight ? weight[number] : T(1));
            V dot{};
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
              const V reached = one_where<V>(own[v] * w == load(best + at + v * Shape::Lanes));
              const V gradient = reached * load(share + at + v * Shape::Lanes);
              total[v] += w * gradient;
              if (d_weight) dot += gradient * own[v];
            }
            if (d_weight) d_weight[number] += sum_each(dot, V{}, V{}, V{})[0];
          }
          for (int v = 0; v < kVectors; ++v) store(sum + column + v * Shape::Lanes, total[v]);
        });
      }
    }
  }
};

}  // namespace
}  // namespace lcat

#define LCAT_EXTREMES(NAME, T)                                                                                       \
  LCAT_EXPORT int lcat_extremes_##NAME(const T* x, const T* weight, const int64_t* indptr, const int32_t* indices,   \
      const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, T* out, T* ties, int64_t rows,       \
      int64_t heads, int64_t width, int64_t largest, int threads) {                                                  \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                         \
    try {                                                                                                            \
      return lcat::launch_parts<T>(                                                                                  \
          lcat::Extremes<T>{x, weight, edges, out, ties, heads, width, largest != 0}, threads, 2);                   \
    } catch (const std::bad_alloc&) {                                                                                \
      return lcat::kNoMemory;                                                                                        \
    }                                                                                                                \
  }                                                                                                                  \
  LCAT_EXPORT int lcat_extremes_backward_##NAME(const T* x, const T* weight, const T* best, const T* share,          \
      const int64_t* indptr, const int32_t* indices, const int32_t* edge_ids, int64_t count, int64_t others,         \
      int64_t per_edge, T* d_x, T* d_weight, int64_t rows, int64_t heads, int64_t width, int threads) {              \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                         \
    try {                                                                                                            \
      return lcat::launch_parts<T>(                                                                                  \
          lcat::ExtremesGradient<T>{x, weight, best, share, edges, d_x, d_weight, heads, width}, threads, 3);        \
    } catch (const std::bad_alloc&) {                                                                                \
      return lcat::kNoMemory;                                                                                        \
    }                                                                                                                \
  }
LCAT_EXTREMES(f32, float)
LCAT_EXTREMES(f64, double)
