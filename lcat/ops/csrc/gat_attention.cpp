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
#include "multipliers.h"
#include "work.h"

namespace lcat {
namespace {

template <class T>
struct GatForward {
  const T *source_score, *target_score, *value, *edge_score, *edge_weight;  // all but the first and third may be null
  SortedEdges edges;
  T *out, *lse, *positive, *positive_mass;  // the last two may be null
  int64_t heads, width;
  T slope;
  Dropout dropout;

  template <class Shape>
  void run(const Shape& shape, int, Range range) const {
    const int64_t row_width = heads * width, last = edges.slots(), stride = heads * 4;
    const int block_size = block_length<T>(row_width);
    const auto memory = scratch<T>(kMaxEdges * heads * 3 + stride * 2);
    T *coefficients = memory.get(), *above = coefficients + kMaxEdges * heads, *extra = above + kMaxEdges * heads,
      *mass = extra + kMaxEdges * heads, *own = mass + stride;
    Multipliers<T> multipliers(dropout, edge_weight, edges, range, heads, block_size);
    Softmax<T> softmax(heads);
    Rows<T> values, scores;
    const Upcoming<T> upcoming{value, row_width, edges.indices, last};
    const int64_t ahead = prefetch_distance<T>(row_width);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t begin = edges.indptr[i], end = edges.indptr[i + 1];
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
      if (end - begin == 1) {
        run_alone(shape, i, begin, multipliers ? multipliers.next(1) : nullptr);
        continue;
      }
      for (int64_t h = 0; h < heads; ++h) {
        store(own + h * 4, splat<4>(target_score ? target_score[i * heads + h] : T(0)));
      }
      const bool single_block = end - begin <= block_size;
      for (int64_t slot = begin; slot < end; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, end - slot));
        const int64_t count = whole_quads(n) * stride;
        const bool first = slot == begin;
        for (int b = 0; b < n; ++b) {
          prefetch_row(source_score + edges.indices[std::min(slot + ahead + b, last - 1)] * heads, heads);
        }
        values.gather(value, row_width, edges.indices + slot, n);
        gather_heads(source_score, edges.indices + slot, n, heads, scores, coefficients);
        if (edge_score) gather_heads(edge_score, edges.edge_ids + slot, n, heads, scores, extra);
        with_lanes<T>(stride, [&](auto lanes) __attribute__((always_inline)) {
          constexpr int L = decltype(lanes)::value;
          for (int64_t at = 0; at < count;) {
            for (int64_t c = 0; c < stride; c += L, at += L) {
              auto z = load_fours<L>(coefficients + at) + load_fours<L>(own + c);
              if (edge_score) z += load_fours<L>(extra + at);
              store(coefficients + at, leaky(z, slope));
              if (positive) store(above + at, add_where_positive(decltype(z){}, z, splat<L>(T(1))));
            }
          }
        });
        softmax.block(coefficients, n, first);
        if (!first) {
          scale_heads(shape, heads, softmax.scale, sum);
          if (positive) {
            scale_heads(shape, heads, softmax.scale, sum_positive);
            for (int64_t c = 0; c < stride; c += 4) store(mass + c, load<4>(mass + c) * load<4>(softmax.scale + c));
          }
        }
        if (single_block) softmax.finish(lse + i * heads);
        const T* factor = single_block ? softmax.scale : nullptr;
        const auto weigh_all = [&](auto multiplied, const T* multiplier) __attribute__((always_inline)) {
          with_lanes<T>(stride, [&](auto lanes) __attribute__((always_inline)) {
            constexpr int L = decltype(lanes)::value;
            weigh<L, decltype(multiplied)::value>(coefficients, above, mass, count, factor, multiplier, first);
          });
        };
        if (multipliers) {
          weigh_all(std::true_type{}, multipliers.next(n));
        } else {
          weigh_all(std::false_type{}, nullptr);
        }
        const auto meanwhile = [&](int b) { return upcoming.quad(slot + ahead + b); };
        if (positive) {
          sum_rows_twice(shape, values.at, n, heads, {coefficients, above}, {sum, sum_positive}, first, meanwhile);
        } else {
          sum_rows(shape, values.at, n, heads, coefficients, sum, first, meanwhile);
        }
      }
      if (!single_block) {
        softmax.finish(lse + i * heads);
        scale_heads(shape, heads, softmax.scale, sum);
        if (positive) {
          scale_heads(shape, heads, softmax.scale, sum_positive);
          for (int64_t c = 0; c < stride; c += 4) store(mass + c, load<4>(mass + c) * load<4>(softmax.scale + c));
        }
      }
      if (positive) {
        for (int64_t h = 0; h < heads; ++h) positive_mass[i * heads + h] = mass[h * 4];
      }
    }
  }

  // Row i where its only edge is that of `slot`, such as the loop of a node at the rim of a sampled batch: a softmax of
  // one number is 1, or NaN where the number is infinite. The same bits as in a block.
  template <class Shape>
  LCAT_INLINE void run_alone(const Shape& shape, int64_t i, int64_t slot, const T* multiplier) const {
    using V = typename Shape::V;
    const int64_t j = edges.indices[slot];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t at = i * heads + h;
      T z = source_score[j * heads + h] + (target_score ? target_score[at] : T(0));
      if (edge_score) z += edge_score[edges.edge_ids[slot] * heads + h];
      const T score = z > 0 ? z : z * slope, none = score - score, p = T(1) + none, p_above = z > 0 ? p : p * T(0);
      const T m = multiplier ? multiplier[h * 4] : T(1);
      lse[at] = score + none;
      if (positive) positive_mass[at] = p_above;
      const V weight = splat<Shape::Lanes>(p * m), weight_above = splat<Shape::Lanes>(p_above * m);
      const T* from = value + (j * heads + h) * width;
      T *to = out + at * width, *to_positive = positive ? positive + at * width : nullptr;
      shape.each([&](auto load, auto store, int64_t f) __attribute__((always_inline)) {
        const V v = load(from + f);
        store(to + f, v * weight);
        if (to_positive) store(to_positive + f, v * weight_above);
      });
    }
  }

  // Coefficients times `factor`, if there is one; then the mass of those above zero; then times the multipliers, as
  // dropout and edge weights act after the softmax.
  template <int L, bool Multiplied>
  LCAT_INLINE void weigh(T* coefficients, T* above, T* mass, int64_t count, const T* factor, const T* multiplier,
                         bool first) const {
    using V = Vector<T, L>;
    if (!Multiplied && !factor && !positive) return;
    const int64_t stride = heads * 4;
    for (int64_t c = 0; c < stride; c += L) {
      const V by = factor ? load<L>(factor + c) : splat<L>(T(1));
      V total{};
      for (int64_t at = c; at < count; at += stride) {
        const V p = load<L>(coefficients + at) * by, m = Multiplied ? load<L>(multiplier + at) : by;
        store(coefficients + at, Multiplied ? p * m : p);
        if (!positive) continue;
        const V p_above = p * load<L>(above + at);
        total += p_above;
        store(above + at, Multiplied ? p_above * m : p_above);
      }
      if (!positive) continue;
      total = over_quads(total, [](V a, V b) { return a + b; });
      store(mass + c, first ? total : load<L>(mass + c) + total);
    }
  }
};

// What the backward pass needs to know of a target at each of its edges, side by side in memory: t, lse and
// <g, y>; and, if needed, the gradient of t.
template <class T>
struct GatTargets {
  const T *gradient, *target_score, *out, *lse, *positive, *positive_mass;
  const int64_t* indptr;  // of the edges by target
  T *packed, *d_target_score;  // [N, 3, H] and one number more; [N, H] or null
  int64_t rows, heads, width;
  T slope;

  template <class Shape>
  void run(const Shape& shape, Range range) const {
    for (int64_t i = range.begin; i < range.end; ++i) {
      T* pack = packed + i * heads * 3;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = i * heads + h;
        const T delta = dot(shape, gradient + at * width, out + at * width);
        pack[h] = target_score ? target_score[at] : T(0);
        pack[heads + h] = lse[at];
        pack[heads * 2 + h] = delta;
        if (d_target_score && indptr[i] == indptr[i + 1]) {
          d_target_score[at] = 0;  // also where the gradient of this row is infinite
        } else if (d_target_score) {
          const T along = dot(shape, gradient + at * width, positive + at * width);
          d_target_score[at] = (1 - slope) * (along - delta * positive_mass[at]);
        }
      }
    }
  }
};

template <class T>
struct GatBackward {
  const T *gradient, *source_score, *value, *edge_score, *edge_weight, *packed;
  SortedEdges edges;
  T *d_source_score, *d_value, *d_edge_score, *d_edge_weight;  // each may be null
  int64_t heads, width;
  T slope;
  Dropout dropout;

  template <class Shape>
  void run(const Shape& shape, int, Range range) const {
    const int64_t row_width = heads * width, last = edges.slots(), span = span_of<T>(heads), size = kMaxEdges * heads;
    const int block_size = block_length<T>(row_width);
    const auto memory = scratch<T>(size * 6 + span * 2);
    T *dots = memory.get(), *target_scores = dots + size, *lses = target_scores + size, *deltas = lses + size,
      *ones = deltas + size, *extra = ones + size, *own = extra + size, *total = own + span;
    std::fill_n(ones, size, T(1));
    Multipliers<T> multipliers(dropout, edge_weight, edges, range, heads, block_size);
    Multipliers<T> kept(d_edge_weight ? dropout : Dropout(0, 0), nullptr, edges, range, heads, block_size);
    Rows<T> gradients, packs;
    const Upcoming<T> upcoming{gradient, row_width, edges.indices, last};
    const int64_t ahead = prefetch_distance<T>(row_width);
    for (int64_t j = range.begin; j < range.end; ++j) {
      repeat_over_span(source_score + j * heads, heads, own);
      std::fill_n(total, span, T(0));
      if (d_value && edges.indptr[j] == edges.indptr[j + 1]) std::fill_n(d_value + j * row_width, row_width, T(0));
      for (int64_t slot = edges.indptr[j]; slot < edges.indptr[j + 1]; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, edges.indptr[j + 1] - slot));
        const int64_t count = whole_spans<T>(n, heads);
        for (int b = 0; b < n; ++b) {
          prefetch_row(packed + edges.indices[std::min(slot + ahead + b, last - 1)] * heads * 3, heads * 3);
        }
        gradients.gather(gradient, row_width, edges.indices + slot, n);
        dot_rows(shape, gradients.at, n, heads, value + j * row_width, upcoming, slot + ahead, dots);
        gather_packs(edges.indices + slot, n, packs, target_scores, lses, deltas);
        if (edge_score) {
          gather_heads(edge_score, edges.edge_ids + slot, n, heads, packs, extra);
          for (int64_t at = 0; at < count; at += 4) {
            store(target_scores + at, load<4>(target_scores + at) + load<4>(extra + at));
          }
        }
        const T* multiplier = multipliers ? multipliers.next(n) : ones;
        if (d_edge_weight) weight_gradient(slot, n, dots, target_scores, lses, own, kept ? kept.next(n) : ones);

        // dots -> ds_ij, target_scores -> coefficients.
        with_span<T>(heads, [&](auto lanes) __attribute__((always_inline)) {
          constexpr int L = decltype(lanes)::value;
          const auto read = [](const T* p) __attribute__((always_inline)) {  // one or two heads are read at once
            return decltype(lanes)::kStride < L ? load_fours<L>(p) : load<L>(p);
          };
          for (int64_t at = 0; at < count;) {
            for (int64_t c = 0; c < span; c += L, at += L) {
              const auto z = read(target_scores + at) + read(own + c), m = load<L>(multiplier + at);
              const auto p = exponential(leaky(z, slope) - read(lses + at));
              const auto d = p * (read(dots + at) * m - read(deltas + at));
              store(dots + at, add_where_positive(d * slope, z, d * (1 - slope)));
              store(target_scores + at, p * m);
            }
          }
          if (!d_source_score) return;
          const int here = n - last_span<T>(n, heads);  // the others fill up the last span
          for (int64_t at = count - span; at < count; at += L) {
            store(dots + at, only_before<decltype(lanes)::kStride>(load<L>(dots + at), here, T(0)));
          }
          for (int64_t at = 0; at < count;) {
            for (int64_t c = 0; c < span; c += L, at += L) store(total + c, load<L>(total + c) + load<L>(dots + at));
          }
        });
        if (d_edge_score) {
          for (int b = 0; b < n; ++b) {
            T* to = d_edge_score + edges.edge_ids[slot + b] * heads;
            for (int64_t h = 0; h < heads; ++h) to[h] = dots[quad_order(b, h, heads)];
          }
        }
        if (d_value) {
          sum_rows(shape, gradients.at, n, heads, target_scores, d_value + j * row_width, slot == edges.indptr[j],
                   [](int) { return NothingToFetch{}; });
        }
      }
      if (d_source_score) {
        for (int64_t h = 0; h < heads; ++h) {
          T sum = 0;
          for (const T* four = total + h * 4; four < total + span; four += heads * 4) {
            sum += (four[0] + four[1]) + (four[2] + four[3]);
          }
          d_source_score[j * heads + h] = sum;
        }
      }
    }
  }

  // The three packed numbers of each edge and head.
  LCAT_INLINE void gather_packs(const int32_t* indices, int n, Rows<T>& packs, T* target_scores, T* lses,
                                T* deltas) const {
    packs.gather(packed, heads * 3, indices, n);
    const int edges_read = whole_quads(n) * 4;
    if (heads == 1) {  // one number more than there are: so has `packed`
      for (int b = 0; b < edges_read; b += 4) {
        Vector<T, 4> x0 = load<4>(packs.at[b]), x1 = load<4>(packs.at[b + 1]);
        Vector<T, 4> x2 = load<4>(packs.at[b + 2]), x3 = load<4>(packs.at[b + 3]);
        transpose(x0, x1, x2, x3);
        store(target_scores + b, x0);
        store(lses + b, x1);
        store(deltas + b, x2);
      }
      return;
    }
    gather_heads(packs.at, n, heads, target_scores);
    for (int b = 0; b < edges_read; ++b) packs.at[b] += heads;
    gather_heads(packs.at, n, heads, lses);
    for (int b = 0; b < edges_read; ++b) packs.at[b] += heads;
    gather_heads(packs.at, n, heads, deltas);
  }

  // d w_e = sum over heads of the kept softmax coefficient times <g_i, v_j>: the multiplier without the weight.
  void weight_gradient(int64_t slot, int n, const T* dots, const T* target_scores, const T* lses, const T* own,
                       const T* kept) const {
    for (int b = 0; b < n; ++b) {
      T sum = 0;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = quad_order(b, h, heads);
        const T z = target_scores[at] + own[h * 4];
        sum += exponential((z > 0 ? z : z * slope) - lses[at]) * kept[at] * dots[at];
      }
      d_edge_weight[edges.edge_ids[slot + b]] = sum;
    }
  }
};

}  // namespace
}  // namespace lcat

#define LCAT_GAT_ATTENTION(NAME, T)                                                                                 \
  LCAT_EXPORT int lcat_gat_attention_forward_##NAME(const T* source_score, const T* target_score, const T* value,  \
      const T* edge_score, const T* edge_weight, const int64_t* indptr, const int32_t* indices,                     \
      const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, T* out, T* lse, T* positive,        \
      T* positive_mass, int64_t rows, int64_t heads, int64_t width, double slope, double dropout, int64_t seed,     \
      int threads) {                                                                                                \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                        \
    return lcat::launch<T>(                                                                                         \
        lcat::GatForward<T>{source_score, target_score, value, edge_score, edge_weight, edges, out, lse, positive,  \
                            positive_mass, heads, width, T(slope), lcat::Dropout(dropout, seed)},                   \
        threads);                                                                                                   \
  }                                                                                                                 \
  LCAT_EXPORT int lcat_gat_attention_targets_##NAME(const T* gradient, const T* target_score, const T* out,        \
      const T* lse, const T* positive, const T* positive_mass, const int64_t* indptr, T* packed, T* d_target_score, \
      int64_t rows, int64_t heads, int64_t width, double slope, int threads) {                                      \
    return lcat::launch_over_nodes<T>(lcat::GatTargets<T>{gradient, target_score, out, lse, positive,               \
        positive_mass, indptr, packed,                                                                              \
                                               d_target_score, rows, heads, width, T(slope)},                       \
                           threads);                                                                                \
  }                                                                                                                 \
  LCAT_EXPORT int lcat_gat_attention_backward_##NAME(const T* gradient, const T* source_score, const T* value,     \
      const T* edge_score, const T* edge_weight, const T* packed, const int64_t* indptr, const int32_t* indices,    \
      const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, T* d_source_score, T* d_value,      \
      T* d_edge_score, T* d_edge_weight, int64_t rows, int64_t heads, int64_t width, double slope, double dropout,  \
      int64_t seed, int threads) {                                                                                  \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                        \
    return lcat::launch<T>(                                                                                         \
        lcat::GatBackward<T>{gradient, source_score, value, edge_score, edge_weight, packed, edges, d_source_score, \
                             d_value, d_edge_score, d_edge_weight, heads, width, T(slope),                          \
                             lcat::Dropout(dropout, seed)},                                                         \
        threads);                                                                                                   \
  }
LCAT_GAT_ATTENTION(f32, float)
LCAT_GAT_ATTENTION(f64, double)
