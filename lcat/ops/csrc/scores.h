// The score of GATv2 on a block of edges: att . LeakyReLU(key_j + query_i), and its derivative.
#pragma once

#include "block.h"

namespace lcat {

// scores[at(b, h)] = att . leaky(rows[b] + own), for all heads. Meanwhile the rows of `upcoming` from slot `next` on
// are requested.
template <class Shape, class T = typename Shape::T>
LCAT_INLINE void score_rows(const Shape& shape, const T* const* rows, int n, int64_t heads, const T* own,
                            const T* att, T slope, const Upcoming<T>& upcoming, int64_t next, T* scores) {
  using V = typename Shape::V;
  for (int b = 0; b < n; b += 4) {
    const T *r0 = rows[b], *r1 = rows[b + 1], *r2 = rows[b + 2], *r3 = rows[b + 3];
    const auto next_rows = upcoming.quad(next + b);
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width, scores += 4) {
      next_rows.fetch(base, shape.width);
      V s0{}, s1{}, s2{}, s3{};
      shape.each([&](auto load, auto, int64_t i) __attribute__((always_inline)) {
        const int64_t f = base + i;
        const V mine = load(own + f), a = load(att + f);
        s0 += a * leaky(load(r0 + f) + mine, slope);
        s1 += a * leaky(load(r1 + f) + mine, slope);
        s2 += a * leaky(load(r2 + f) + mine, slope);
        s3 += a * leaky(load(r3 + f) + mine, slope);
      });
      store(scores, sum_each(s0, s1, s2, s3));
    }
  }
}

// Both products of a backward pass at once: scores as in score_rows, and dots[at(b, h)] = <others[b], mate>.
template <class Shape, class T = typename Shape::T>
LCAT_INLINE void score_and_dot_rows(const Shape& shape, const T* const* rows, const T* const* others, int n,
                                    int64_t heads, const T* own, const T* att, const T* mate, T slope,
                                    const Upcoming<T>& upcoming, const Upcoming<T>& more, int64_t next, T* scores,
                                    T* dots) {
  using V = typename Shape::V;
  for (int b = 0; b < n; b += 4) {
    const T *r0 = rows[b], *r1 = rows[b + 1], *r2 = rows[b + 2], *r3 = rows[b + 3];
    const T *o0 = others[b], *o1 = others[b + 1], *o2 = others[b + 2], *o3 = others[b + 3];
    const auto next_rows = upcoming.quad(next + b), next_others = more.quad(next + b);
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width, scores += 4, dots += 4) {
      next_rows.fetch(base, shape.width);
      if (more.base != upcoming.base) next_others.fetch(base, shape.width);
      V s0{}, s1{}, s2{}, s3{}, d0{}, d1{}, d2{}, d3{};
      shape.each([&](auto load, auto, int64_t i) __attribute__((always_inline)) {
        const int64_t f = base + i;
        const V mine = load(own + f), a = load(att + f), g = load(mate + f);
        s0 += a * leaky(load(r0 + f) + mine, slope);
        s1 += a * leaky(load(r1 + f) + mine, slope);
        s2 += a * leaky(load(r2 + f) + mine, slope);
        s3 += a * leaky(load(r3 + f) + mine, slope);
        d0 += g * load(o0 + f);
        d1 += g * load(o1 + f);
        d2 += g * load(o2 + f);
        d3 += g * load(o3 + f);
      });
      store(scores, sum_each(s0, s1, s2, s3));
      store(dots, sum_each(d0, d1, d2, d3));
    }
  }
}

// into[h] += sum of ds[at(b, h)] over the edges with rows[b] + own > 0, feature by feature.
template <class Shape, class T = typename Shape::T>
LCAT_INLINE void add_where_active(const Shape& shape, const T* const* rows, int n, int64_t heads, const T* own,
                                  const T* ds, T* into) {
  using V = typename Shape::V;
  int b = 0;
  for (; b + 4 <= n; b += 4, ds += heads * 4) {
    const T *r0 = rows[b], *r1 = rows[b + 1], *r2 = rows[b + 2], *r3 = rows[b + 3];
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width) {
      const T* w = ds + h * 4;
      const V w0 = splat<Shape::Lanes>(w[0]), w1 = splat<Shape::Lanes>(w[1]);
      const V w2 = splat<Shape::Lanes>(w[2]), w3 = splat<Shape::Lanes>(w[3]);
      shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
        const int64_t f = base + i;
        const V mine = load(own + f);
        V low = add_where_positive(load(into + f), load(r0 + f) + mine, w0);
        V high = add_where_positive(V{}, load(r1 + f) + mine, w1);
        low = add_where_positive(low, load(r2 + f) + mine, w2);
        high = add_where_positive(high, load(r3 + f) + mine, w3);
        store(into + f, low + high);
      });
    }
  }
  for (int rest = b; rest < n; ++rest) {
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width) {
      const V w0 = splat<Shape::Lanes>(ds[h * 4 + rest - b]);
      shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
        const int64_t f = base + i;
        store(into + f, add_where_positive(load(into + f), load(rows[rest] + f) + load(own + f), w0));
      });
    }
  }
}

}  // namespace lcat
