// gat_scores: s_nh = <a_h, v_nh> and t_nh = <b_h, v_nh>, the scores of GAT from the projected values, and their
// gradients
//     dv_nh += ds_nh a_h + dt_nh b_h,   da_h = sum_n ds_nh v_nh,   db_h = sum_n dt_nh v_nh.
// Each pass reads the values once.
#include <cstdint>

#include "block.h"
#include "export.h"
#include "work.h"

namespace lcat {
namespace {

// Values as a list of N * H vectors, whose scores are next to each other in memory.
template <class T>
struct GatScores {
  const T *value, *att_source, *att_target;  // [N, H, F]; [H, F], each may be null
  T *source_score, *target_score;            // [N, H], null where their vector is
  int64_t rows, heads, width;

  template <class Shape>
  int run(const Shape& shape, int threads) const {
    // The first three heads again behind the last: four neighbors then never begin again in the middle.
    const int64_t size = (heads + 3) * width;
    const auto memory = scratch<T>(size * 2);
    T *source = memory.get(), *target = source + size;
    if (source_score) repeat(att_source, source);
    if (target_score) repeat(att_target, target);
    const int64_t quads = (rows * heads + 3) / 4;
    const double cost = double(rows * heads * width);
    const int chunks = chunks_for(cost);
    return for_chunks(threads_for(cost, threads), chunks, [&](int chunk) {
      const Range range = part_of_chunk(quads, chunk, chunks);
      if (source_score && target_score) return visit<true, true>(shape, range, source, target);
      if (source_score) return visit<true, false>(shape, range, source, target);
      if (target_score) return visit<false, true>(shape, range, source, target);
    });
  }

  void repeat(const T* att, T* to) const {
    for (int64_t h = 0; h < heads + 3; ++h) std::copy_n(att + h % heads * width, width, to + h * width);
  }

  template <bool Source, bool Target, class Shape>
  void visit(const Shape& shape, Range quads, const T* source, const T* target) const {
    using V = typename Shape::V;
    const int64_t count = rows * heads;
    for (int64_t at = quads.begin * 4, h = at % heads; at < quads.end * 4; at += 4) {
      const int here = int(std::min<int64_t>(4, count - at));
      const T *v0 = value + at * width, *v1 = v0 + (here > 1 ? width : 0), *v2 = v0 + (here > 2 ? width * 2 : 0),
              *v3 = v0 + (here > 3 ? width * 3 : 0);
      const T *a = source + h * width, *b = target + h * width;
      V s0{}, s1{}, s2{}, s3{}, t0{}, t1{}, t2{}, t3{};
      shape.each([&](auto load, auto, int64_t i) __attribute__((always_inline)) {
        const V x0 = load(v0 + i), x1 = load(v1 + i), x2 = load(v2 + i), x3 = load(v3 + i);
        if (Source) {
          s0 += x0 * load(a + i);
          s1 += x1 * load(a + width + i);
          s2 += x2 * load(a + width * 2 + i);
          s3 += x3 * load(a + width * 3 + i);
        }
        if (Target) {
          t0 += x0 * load(b + i);
          t1 += x1 * load(b + width + i);
          t2 += x2 * load(b + width * 2 + i);
          t3 += x3 * load(b + width * 3 + i);
        }
      });
      if (Source) put(source_score + at, sum_each(s0, s1, s2, s3), here);
      if (Target) put(target_score + at, sum_each(t0, t1, t2, t3), here);
      h += 4;
      while (h >= heads) h -= heads;
    }
  }

  static LCAT_INLINE void put(T* to, Vector<T, 4> sums, int here) {
    if (here == 4) {
      store(to, sums);
    } else {
      Partial<4, T>::store(to, sums, here);
    }
  }
};

template <class T>
struct GatScoresBackward {
  const T *value, *att_source, *att_target;     // as above
  const T *d_source_score, *d_target_score;     // [N, H], null where their vector is
  T *d_value, *d_att_source, *d_att_target;     // d_value is added to; each may be null
  int64_t rows, heads, width;

  template <class Shape>
  int run(const Shape& shape, int threads) const {
    const int64_t row_width = heads * width;
    const double cost = 2.0 * double(rows * row_width);
    const int chunks = chunks_for(cost);
    const bool sums = d_att_source || d_att_target;
    const auto partial_sums = scratch<T>(sums ? chunks * row_width * 2 : 0);
    const int status = for_chunks(threads_for(cost, threads), chunks, [&](int chunk) {
      const Range range = part_of_chunk(rows, chunk, chunks);
      T* sum = partial_sums.get() + (sums ? chunk * row_width * 2 : 0);
      if (att_source && att_target) return visit<true, true>(shape, range, sum);
      if (att_source) return visit<true, false>(shape, range, sum);
      if (att_target) return visit<false, true>(shape, range, sum);
    });
    if (d_att_source) add_up(partial_sums.get(), chunks, d_att_source);
    if (d_att_target) add_up(partial_sums.get() + row_width, chunks, d_att_target);
    return status;
  }

  template <bool Source, bool Target, class Shape>
  void visit(const Shape& shape, Range range, T* sum) const {
    const int64_t row_width = heads * width;
    if (d_att_source || d_att_target) std::fill_n(sum, row_width * 2, T(0));
    int64_t n = range.begin;
    for (; n + 4 <= range.end; n += 4) visit_rows<4, Source, Target>(shape, n, sum);
    for (; n < range.end; ++n) visit_rows<1, Source, Target>(shape, n, sum);
  }

  template <int Rows, bool Source, bool Target, class Shape>
  LCAT_INLINE void visit_rows(const Shape& shape, int64_t n, T* sum) const {
    using V = typename Shape::V;
    constexpr int L = Shape::Lanes;
    const int64_t row_width = heads * width;
    for (int64_t h = 0, base = 0; h < heads; ++h, base += width) {
      V ds[Rows]{}, dt[Rows]{};
      for (int r = 0; r < Rows; ++r) {
        if (Source) ds[r] = splat<L>(d_source_score[(n + r) * heads + h]);
        if (Target) dt[r] = splat<L>(d_target_score[(n + r) * heads + h]);
      }
      const T* from = value + n * row_width + base;
      if (d_value) {
        T* to = d_value + n * row_width + base;
        shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
          const V a = Source ? load(att_source + base + i) : V{}, b = Target ? load(att_target + base + i) : V{};
          for (int r = 0; r < Rows; ++r) {
            T* at = to + r * row_width + i;
            V added = load(at);
            if (Source) added += ds[r] * a;
            if (Target) added += dt[r] * b;
            store(at, added);
          }
        });
      }
      if (Source && d_att_source) add_products<Rows>(shape, from, ds, sum + base);
      if (Target && d_att_target) add_products<Rows>(shape, from, dt, sum + row_width + base);
    }
  }

  template <int Rows, class Shape, class V = typename Shape::V>
  LCAT_INLINE void add_products(const Shape& shape, const T* from, const V* factor, T* sum) const {
    shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
      V added = load(from + i) * factor[0];
      for (int r = 1; r < Rows; ++r) added += load(from + r * heads * width + i) * factor[r];
      store(sum + i, load(sum + i) + added);
    });
  }

  void add_up(const T* partial_sums, int64_t chunks, T* to) const {
    const int64_t row_width = heads * width;
    std::fill_n(to, row_width, T(0));
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const T* from = partial_sums + chunk * row_width * 2;
      for (int64_t i = 0; i < row_width; ++i) to[i] += from[i];
    }
  }
};

template <class T, class Kernel>
int run_on_heads(const Kernel& kernel, int threads) {
  int status = kDone;
  if (kernel.heads == 0) return status;
  try {
    with_head_shape<T>(kernel.width, [&](auto shape) { status = kernel.run(shape, threads); });
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  }
  return status;
}

}  // namespace
}  // namespace lcat

#define LCAT_GAT_SCORES(NAME, T)                                                                                    \
  LCAT_EXPORT int lcat_gat_scores_##NAME(const T* value, const T* att_source, const T* att_target, T* source_score, \
      T* target_score, int64_t rows, int64_t heads, int64_t width, int threads) {                                   \
    return lcat::run_on_heads<T>(                                                                                   \
        lcat::GatScores<T>{value, att_source, att_target, source_score, target_score, rows, heads, width}, threads); \
  }                                                                                                                 \
  LCAT_EXPORT int lcat_gat_scores_backward_##NAME(const T* value, const T* att_source, const T* att_target,         \
      const T* d_source_score, const T* d_target_score, T* d_value, T* d_att_source, T* d_att_target, int64_t rows, \
      int64_t heads, int64_t width, int threads) {                                                                  \
    return lcat::run_on_heads<T>(                                                                                   \
        lcat::GatScoresBackward<T>{value, att_source, att_target, d_source_score, d_target_score, d_value,          \
                                   d_att_source, d_att_target, rows, heads, width},                                 \
        threads);                                                                                                   \
  }
LCAT_GAT_SCORES(f32, float)
LCAT_GAT_SCORES(f64, double)
