// gat_attention: y_i = sum_{j -> i} w_ij softmax_j(LeakyReLU(s_j + t_i + e_ij)) v_j, forward and backward.
//
// The backward pass visits the edges once, grouped by source. The gradient of t needs no visit: with
// z = s_j + t_i + e_ij, the softmax's ds_ij sum to zero over j, so that
//     dt_i = sum_j LeakyReLU'(z) ds_ij = (1 - slope) sum_{z > 0} ds_ij
//          = (1 - slope) (<g_i, positive_i> - <g_i, y_i> positive_mass_i),
// where positive_i and positive_mass_i are the sums of w p v_j and p over z > 0, kept by the forward pass.
#include <cstdint>

#include "block.h"
#include "export.h"
#include "philox.h"
#include "work.h"

namespace lcat {
namespace {

template <class T>
struct V1Forward {
  const T *s, *t, *v, *edge_score, *edge_weight;  // t, edge_score, edge_weight may be null
  const int64_t* pointer;
  const int32_t *other, *edge;
  T *out, *lse, *positive, *positive_mass;  // the last two may be null
  int64_t rows, heads, width;
  T slope;
  Dropout dropout;

  template <class Shape>
  void run(const Shape& shape, int chunk) const {
    const int64_t row_width = heads * width, last = pointer[rows], stride = heads * 4;
    const int most = block_length<T>(row_width);
    const auto memory = scratch<T>(kMostEdges * heads * 4 + stride * 2);
    T *coefficients = memory.get(), *above = coefficients + kMostEdges * heads,
      *multiplier = above + kMostEdges * heads, *extra = multiplier + kMostEdges * heads,
      *mass = extra + kMostEdges * heads, *own = mass + stride;
    Softmax<T> softmax(heads);
    Rows<T> values, scores, extras;
    const Upcoming<T> soon{v, row_width, other, last};
    const int64_t ahead = prefetch_distance<T>(row_width);
    const Range range = rows_of_chunk(pointer, rows, chunk);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t begin = pointer[i], end = pointer[i + 1];
      T *sum = out + i * row_width, *sum_positive = positive ? positive + i * row_width : nullptr;
      if (begin == end) {
        std::fill_n(sum, row_width, T(0));
        std::fill_n(lse + i * heads, heads, T(0));
        if (positive) {
          std::fill_n(sum_positive, row_width, T(0));
          std::fill_n(positive_mass + i * heads, heads, T(0));
        }
        continue;
      }
      for (int64_t h = 0; h < heads; ++h) store(own + h * 4, splat<4>(t ? t[i * heads + h] : T(0)));
      const bool single = end - begin <= most;
      for (int64_t slot = begin; slot < end; slot += most) {
        const int n = int(std::min<int64_t>(most, end - slot)), quads = whole_quads(n);
        const bool first = slot == begin;
        for (int b = 0; b < n; ++b) prefetch_row(s + other[std::min(slot + ahead + b, last - 1)] * heads, heads);
        values.gather(v, row_width, other + slot, n);
        scores.gather(s, heads, other + slot, n);
        gather_heads(scores.at, n, heads, coefficients);
        if (edge_score) {
          extras.gather(edge_score, heads, edge + slot, n);
          gather_heads(extras.at, n, heads, extra);
        }
        with_lanes<T>(stride, [&](auto lanes) __attribute__((always_inline)) {
          constexpr int L = decltype(lanes)::value;
          for (int q = 0; q < quads; ++q) {
            for (int64_t c = 0, at = q * stride; c < stride; c += L, at += L) {
              auto z = load<L>(coefficients + at) + load<L>(own + c);
              if (edge_score) z += load<L>(extra + at);
              store(coefficients + at, leaky(z, slope));
              if (positive) store(above + at, add_where_positive(decltype(z){}, z, splat<L>(T(1))));
            }
          }
        });
        softmax.block(coefficients, n, first);
        if (!first) {
          scale_heads(shape, heads, softmax.shrink, sum);
          if (positive) {
            scale_heads(shape, heads, softmax.shrink, sum_positive);
            scale_block(mass, 4, heads, softmax.shrink);
          }
        }
        if (single) {
          softmax.finish(lse + i * heads);
          scale_block(coefficients, n, heads, softmax.shrink);
        }
        if (positive) {
          with_lanes<T>(stride, [&](auto lanes) __attribute__((always_inline)) {
            constexpr int L = decltype(lanes)::value;
            for (int64_t c = 0; c < stride; c += L) {
              Vector<T, L> total{};
              for (int64_t at = c; at < quads * stride; at += stride) {
                const auto p = load<L>(coefficients + at) * load<L>(above + at);
                store(above + at, p);
                total += p;
              }
              total = over_quads(total, [](auto a, auto b) { return a + b; });
              store(mass + c, first ? total : load<L>(mass + c) + total);
            }
          });
        }
        if (dropout.active || edge_weight) multiply(slot, n, multiplier, coefficients, above);
        const auto meanwhile = [&](int b) { return soon.quad(slot + ahead + b); };
        if (first) {
          add_weighted_rows<true>(shape, values.at, n, heads, coefficients, sum, meanwhile);
          if (positive) add_weighted_rows<true>(shape, values.at, n, heads, above, sum_positive);
        } else {
          add_weighted_rows<false>(shape, values.at, n, heads, coefficients, sum, meanwhile);
          if (positive) add_weighted_rows<false>(shape, values.at, n, heads, above, sum_positive);
        }
      }
      if (!single) {
        softmax.finish(lse + i * heads);
        scale_heads(shape, heads, softmax.shrink, sum);
        if (positive) {
          scale_heads(shape, heads, softmax.shrink, sum_positive);
          scale_block(mass, 4, heads, softmax.shrink);
        }
      }
      if (positive) {
        for (int64_t h = 0; h < heads; ++h) positive_mass[i * heads + h] = mass[h * 4];
      }
    }
  }

  // Dropout and edge weights act after the softmax.
  void multiply(int64_t slot, int n, T* multiplier, T* coefficients, T* above) const {
    multipliers(dropout, edge_weight, edge + slot, n, heads, multiplier);
    for (int64_t at = 0; at < whole_quads(n) * heads * 4; at += 4) {
      const auto m = load<4>(multiplier + at);
      store(coefficients + at, load<4>(coefficients + at) * m);
      if (positive) store(above + at, load<4>(above + at) * m);
    }
  }
};

// What the backward pass needs to know of a target at each of its edges, side by side in memory: t, lse and
// <g, y>; and, where asked for, dt.
template <class T>
struct V1Targets {
  const T *gradient, *t, *out, *lse, *positive, *positive_mass;
  T *packed, *dt;  // [N, 3, H]; [N, H] or null
  int64_t rows, heads, width;
  T slope;

  template <class Shape>
  void run(const Shape& shape, int chunk) const {
    const Range range = part_of_chunk(rows, chunk);
    for (int64_t i = range.begin; i < range.end; ++i) {
      T* pack = packed + i * heads * 3;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = i * heads + h;
        const T delta = dot(shape, gradient + at * width, out + at * width);
        pack[h] = t ? t[at] : T(0);
        pack[heads + h] = lse[at];
        pack[heads * 2 + h] = delta;
        if (dt) {
          dt[at] = (1 - slope) * (dot(shape, gradient + at * width, positive + at * width) - delta * positive_mass[at]);
        }
      }
    }
  }
};

template <class T>
struct V1Backward {
  const T *gradient, *s, *v, *edge_score, *edge_weight, *packed;
  const int64_t* pointer;
  const int32_t *other, *edge;
  T *ds, *dv, *d_edge_score, *d_edge_weight;  // each may be null
  int64_t rows, heads, width;
  T slope;
  Dropout dropout;

  template <class Shape>
  void run(const Shape& shape, int chunk) const {
    const int64_t row_width = heads * width, last = pointer[rows], stride = heads * 4, size = kMostEdges * heads;
    const int most = block_length<T>(row_width);
    const bool multiplied = dropout.active || edge_weight;
    const auto memory = scratch<T>(size * 6 + stride * 2);
    T *dots = memory.get(), *ts = dots + size, *lses = ts + size, *deltas = lses + size, *multiplier = deltas + size,
      *extra = multiplier + size, *own = extra + size, *total = own + stride;
    std::fill_n(multiplier, size, T(1));
    Rows<T> gradients, packs, extras;
    const Upcoming<T> soon{gradient, row_width, other, last};
    const int64_t ahead = prefetch_distance<T>(row_width);
    const Range range = rows_of_chunk(pointer, rows, chunk);
    for (int64_t j = range.begin; j < range.end; ++j) {
      for (int64_t h = 0; h < heads; ++h) store(own + h * 4, splat<4>(s[j * heads + h]));
      std::fill_n(total, stride, T(0));
      if (dv && pointer[j] == pointer[j + 1]) std::fill_n(dv + j * row_width, row_width, T(0));
      for (int64_t slot = pointer[j]; slot < pointer[j + 1]; slot += most) {
        const int n = int(std::min<int64_t>(most, pointer[j + 1] - slot)), quads = whole_quads(n);
        for (int b = 0; b < n; ++b) {
          prefetch_row(packed + other[std::min(slot + ahead + b, last - 1)] * heads * 3, heads * 3);
        }
        gradients.gather(gradient, row_width, other + slot, n);
        dot_rows(shape, gradients.at, n, heads, v + j * row_width, soon, slot + ahead, dots);
        packs.gather(packed, heads * 3, other + slot, n);
        gather_heads(packs.at, n, heads, ts);
        for (int b = 0; b < quads * 4; ++b) packs.at[b] += heads;
        gather_heads(packs.at, n, heads, lses);
        for (int b = 0; b < quads * 4; ++b) packs.at[b] += heads;
        gather_heads(packs.at, n, heads, deltas);
        if (edge_score) {
          extras.gather(edge_score, heads, edge + slot, n);
          gather_heads(extras.at, n, heads, extra);
          for (int64_t at = 0; at < quads * stride; at += 4) store(ts + at, load<4>(ts + at) + load<4>(extra + at));
        }
        if (multiplied) multipliers(dropout, edge_weight, edge + slot, n, heads, multiplier);
        if (d_edge_weight) weight_gradient(slot, n, dots, ts, lses, own);

        // dots -> ds_ij, ts -> coefficients.
        with_lanes<T>(stride, [&](auto lanes) __attribute__((always_inline)) {
          constexpr int L = decltype(lanes)::value;
          for (int q = 0; q < quads; ++q) {
            for (int64_t c = 0, at = q * stride; c < stride; c += L, at += L) {
              const auto z = load<L>(ts + at) + load<L>(own + c), m = load<L>(multiplier + at);
              const auto p = exponential(leaky(z, slope) - load<L>(lses + at));
              const auto d = p * (load<L>(dots + at) * m - load<L>(deltas + at));
              store(dots + at, add_where_positive(d * slope, z, d * (1 - slope)));
              store(ts + at, p * m);
            }
          }
        });
        if (ds) {
          for (int b = n; b < quads * 4; ++b) {
            for (int64_t h = 0; h < heads; ++h) dots[quad_order(b, h, heads)] = 0;
          }
          for (int q = 0; q < quads; ++q) {
            for (int64_t c = 0; c < stride; c += 4) {
              store(total + c, load<4>(total + c) + load<4>(dots + q * stride + c));
            }
          }
        }
        if (d_edge_score) {
          for (int b = 0; b < n; ++b) {
            T* to = d_edge_score + edge[slot + b] * heads;
            for (int64_t h = 0; h < heads; ++h) to[h] = dots[quad_order(b, h, heads)];
          }
        }
        if (dv) {
          if (slot == pointer[j]) {
            add_weighted_rows<true>(shape, gradients.at, n, heads, ts, dv + j * row_width);
          } else {
            add_weighted_rows<false>(shape, gradients.at, n, heads, ts, dv + j * row_width);
          }
        }
      }
      if (ds) {
        for (int64_t h = 0; h < heads; ++h) {
          const T* four = total + h * 4;
          ds[j * heads + h] = (four[0] + four[1]) + (four[2] + four[3]);
        }
      }
    }
  }

  // d w_e = sum over heads of the kept softmax coefficient times <g_i, v_j>: the multiplier without the weight.
  void weight_gradient(int64_t slot, int n, const T* dots, const T* ts, const T* lses, const T* own) const {
    const auto kept = scratch<T>(kMostEdges * heads);
    multipliers<T>(dropout, nullptr, edge + slot, n, heads, kept.get());
    for (int b = 0; b < n; ++b) {
      T sum = 0;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = quad_order(b, h, heads);
        const T z = ts[at] + own[h * 4];
        sum += exponential((z > 0 ? z : z * slope) - lses[at]) * kept[at] * dots[at];
      }
      d_edge_weight[edge[slot + b]] = sum;
    }
  }
};

template <class Kernel>
int launch(const Kernel& kernel, int threads) {
  int status = 0;
  with_head_shape<std::remove_const_t<decltype(kernel.slope)>>(kernel.width, [&](auto shape) {
    status = for_chunks(threads, [&](int chunk) { kernel.run(shape, chunk); });
  });
  return status;
}

}  // namespace
}  // namespace lcat

#define LCAT_ATTEND_V1(NAME, T)                                                                               \
  LCAT_EXPORT int lcat_gat_attention_forward_##NAME(                                                              \
      const T* s, const T* t, const T* v, const T* edge_score, const T* edge_weight, const int64_t* pointer,  \
      const int32_t* other, const int32_t* edge, T* out, T* lse, T* positive, T* positive_mass, int64_t rows, \
      int64_t heads, int64_t width, double slope, double dropout, int64_t seed, int threads) {                \
    return lcat::launch(                                                                                      \
        lcat::V1Forward<T>{s, t, v, edge_score, edge_weight, pointer, other, edge, out, lse, positive,        \
                           positive_mass, rows, heads, width, T(slope), lcat::Dropout(dropout, seed)},        \
        threads);                                                                                             \
  }                                                                                                           \
  LCAT_EXPORT int lcat_gat_attention_targets_##NAME(const T* gradient, const T* t, const T* out, const T* lse,    \
                                                const T* positive, const T* positive_mass, T* packed, T* dt,  \
                                                int64_t rows, int64_t heads, int64_t width, double slope,     \
                                                int threads) {                                                \
    return lcat::launch(lcat::V1Targets<T>{gradient, t, out, lse, positive, positive_mass, packed, dt, rows,  \
                                           heads, width, T(slope)},                                           \
                        threads);                                                                             \
  }                                                                                                           \
  LCAT_EXPORT int lcat_gat_attention_backward_##NAME(                                                             \
      const T* gradient, const T* s, const T* v, const T* edge_score, const T* edge_weight, const T* packed,  \
      const int64_t* pointer, const int32_t* other, const int32_t* edge, T* ds, T* dv, T* d_edge_score,       \
      T* d_edge_weight, int64_t rows, int64_t heads, int64_t width, double slope, double dropout,             \
      int64_t seed, int threads) {                                                                            \
    return lcat::launch(                                                                                      \
        lcat::V1Backward<T>{gradient, s, v, edge_score, edge_weight, packed, pointer, other, edge, ds, dv,    \
                            d_edge_score, d_edge_weight, rows, heads, width, T(slope),                        \
                            lcat::Dropout(dropout, seed)},                                                    \
        threads);                                                                                             \
  }
LCAT_ATTEND_V1(f32, float)
LCAT_ATTEND_V1(f64, double)
