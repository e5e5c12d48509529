// aggregate: y_i = t_i sum_{j -> i} w_ij s_j x_j, and the gradient of w.
#include <cstdint>

#include "block.h"
#include "export.h"
#include "work.h"

namespace lcat {
namespace {

template <class T>
struct Aggregate {
  const T* x;
  const T* weight;                    // [E, heads], or null for ones
  const T *source_scale, *target_scale;  // s and t, or null for ones
  const int64_t* pointer;
  const int32_t* other;
  const int32_t* edge;
  T* out;
  int64_t rows, heads, width;  // a row of x is heads * width numbers

  template <class Shape>
  void run(const Shape& shape, int chunk) const {
    const int64_t row_width = heads * width, last = pointer[rows];
    if (is_plain(shape)) return run_plain(shape, chunk);
    const int most = block_length<T>(row_width);
    const int64_t ahead = prefetch_distance<T>(row_width);
    const Upcoming<T> soon{x, row_width, other, last};
    const auto weights = scratch<T>(kMostEdges * heads);
    const bool scaled = source_scale || target_scale;
    if (weight == nullptr) std::fill_n(weights.get(), kMostEdges * heads, T(1));
    Rows<T> gathered, weight_rows;
    const Range range = rows_of_chunk(pointer, rows, chunk);
    for (int64_t i = range.begin; i < range.end; ++i) {
      T* sum = out + i * row_width;
      if (pointer[i] == pointer[i + 1]) std::fill_n(sum, row_width, T(0));
      for (int64_t slot = pointer[i]; slot < pointer[i + 1]; slot += most) {
        const int n = int(std::min<int64_t>(most, pointer[i + 1] - slot));
        gathered.gather(x, row_width, other + slot, n);
        if (weight != nullptr) {
          for (int b = 0; b < n; ++b) {
            prefetch_row(weight + edge[std::min(slot + 2 * ahead + b, last - 1)] * heads, heads);
          }
          weight_rows.gather(weight, heads, edge + slot, n);
          gather_heads(weight_rows.at, n, heads, weights.get());
        }
        if (scaled) scale(slot, n, target_scale ? target_scale[i] : T(1), weights.get());
        const auto meanwhile = [&](int b) { return soon.quad(slot + ahead + b); };
        if (slot == pointer[i]) {
          add_weighted_rows<true>(shape, gathered.at, n, heads, weights.get(), sum, meanwhile);
        } else {
          add_weighted_rows<false>(shape, gathered.at, n, heads, weights.get(), sum, meanwhile);
        }
      }
    }
  }

  // Rows short enough for their sum to stay in registers, and no weight an edge: the sums of GCN, and those that L-CAT
  // takes of its scores. A block of gathered pointers would cost more than the rows.
  static constexpr int kMostVectors = 8;

  template <class Shape>
  bool is_plain(const Shape&) const {
    return weight == nullptr && heads == 1 && width <= (Shape::kCount > 0 ? kMostVectors : 1) * Shape::Lanes;
  }

  template <class Shape>
  void run_plain(const Shape& shape, int chunk) const {
    using V = typename Shape::V;
    constexpr int kVectors = Shape::kCount > 0 ? Shape::kCount : 1;
    const int64_t last = pointer[rows], ahead = prefetch_distance<T>(width);
    const Range range = rows_of_chunk(pointer, rows, chunk);
    for (int64_t i = range.begin; i < range.end; ++i) {
      V sums[kVectors] = {};
      // Four edges at a time, and in the order of add_weighted_rows: the same bits whichever way a sum takes.
      const auto product = [&](int64_t slot, int v, auto load, int64_t f) __attribute__((always_inline)) {
        return load(x + other[slot] * width + f) * splat<Shape::Lanes>(source_scale ? source_scale[other[slot]] : T(1));
      };
      int64_t slot = pointer[i];
      const auto add = [&](int count) __attribute__((always_inline)) {
        for (int b = 0; b < count; ++b) prefetch_row(x + other[std::min(slot + ahead + b, last - 1)] * width, width);
        const auto one = [&](int v, auto load, int64_t f) __attribute__((always_inline)) {
          if (count == 4) {
            sums[v] += (product(slot, v, load, f) + product(slot + 1, v, load, f)) +
                       (product(slot + 2, v, load, f) + product(slot + 3, v, load, f));
          } else {
            sums[v] += product(slot, v, load, f);
          }
        };
        if constexpr (Shape::kCount > 0) {
          int v = 0;
          shape.each([&](auto load, auto, int64_t f) __attribute__((always_inline)) { one(v++, load, f); });
        } else {  // one vector, most often a partial one
          one(0, [&](const T* p) __attribute__((always_inline)) { return Partial<Shape::Lanes, T>::load(p, int(width)); }, 0);
        }
        slot += count;
      };
      while (slot + 4 <= pointer[i + 1]) add(4);
      while (slot < pointer[i + 1]) add(1);
      const V own = splat<Shape::Lanes>(target_scale ? target_scale[i] : T(1));
      int v = 0;
      shape.each([&](auto, auto store, int64_t f) __attribute__((always_inline)) {
        store(out + i * width + f, sums[v] * own);
        ++v;
      });
    }
  }

  // The scales become part of the weights: rows are then read and written once.
  LCAT_INLINE void scale(int64_t slot, int n, T own, T* weights) const {
    for (int b = 0; b < n; ++b) {
      const T factor = source_scale ? source_scale[other[slot + b]] * own : own;
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
  const int64_t* pointer;
  const int32_t* other;
  const int32_t* edge;
  T* out;  // [E, heads]
  int64_t rows, heads, width;

  template <class Shape>
  void run(const Shape& shape, int chunk) const {
    const int64_t row_width = heads * width, last = pointer[rows];
    const int most = block_length<T>(row_width);
    const auto dots = scratch<T>(kMostEdges * heads);
    const Upcoming<T> soon{x, row_width, other, last};
    const int64_t ahead = prefetch_distance<T>(row_width);
    Rows<T> gathered;
    const Range range = rows_of_chunk(pointer, rows, chunk);
    for (int64_t i = range.begin; i < range.end; ++i) {
      for (int64_t slot = pointer[i]; slot < pointer[i + 1]; slot += most) {
        const int n = int(std::min<int64_t>(most, pointer[i + 1] - slot));
        gathered.gather(x, row_width, other + slot, n);
        dot_rows(shape, gathered.at, n, heads, gradient + i * row_width, soon, slot + ahead, dots.get());
        for (int b = 0; b < n; ++b) {
          for (int64_t h = 0; h < heads; ++h) out[edge[slot + b] * heads + h] = dots[quad_order(b, h, heads)];
        }
      }
    }
  }
};

template <class Kernel>
int launch(const Kernel& kernel, int threads) {
  int status = 0;
  with_head_shape<std::remove_const_t<std::remove_pointer_t<decltype(kernel.out)>>>(kernel.width, [&](auto shape) {
    status = for_chunks(threads, [&](int chunk) { kernel.run(shape, chunk); });
  });
  return status;
}

}  // namespace
}  // namespace lcat

#define LCAT_AGGREGATE(NAME, T)                                                                              \
  LCAT_EXPORT int lcat_aggregate_##NAME(const T* x, const T* weight, const T* source_scale,                  \
                                        const T* target_scale, const int64_t* pointer, const int32_t* other, \
                                        const int32_t* edge, T* out, int64_t rows, int64_t heads,            \
                                        int64_t width, int threads) {                                        \
    return lcat::launch(lcat::Aggregate<T>{x, weight, source_scale, target_scale, pointer, other, edge, out, \
                                           rows, heads, width},                                              \
                        threads);                                                                            \
  }                                                                                                          \
  LCAT_EXPORT int lcat_aggregate_weight_##NAME(const T* gradient, const T* x, const int64_t* pointer,        \
                                               const int32_t* other, const int32_t* edge, T* out,            \
                                               int64_t rows, int64_t heads, int64_t width, int threads) {    \
    return lcat::launch(                                                                                     \
        lcat::WeightGradient<T>{gradient, x, pointer, other, edge, out, rows, heads, width}, threads);       \
  }
LCAT_AGGREGATE(f32, float)
LCAT_AGGREGATE(f64, double)
