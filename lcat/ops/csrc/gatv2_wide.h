// gatv2_attention for rows that are wider than a few vectors: row by row, head by head.
#pragma once

#include "edge_features.h"
#include "multipliers.h"
#include "scores.h"

namespace lcat {

template <class T>
struct WideGatv2Forward {
  const T *key, *query, *value, *att, *edge_weight;  // edge_weight may be null; value may be key
  EdgeFeatures<T> features;
  SortedEdges edges;
  T *out, *lse;
  int64_t heads, width;
  T slope;
  Dropout dropout;

  template <class Shape>
  void run(const Shape& shape, int, Range range) const {
    const int64_t row_width = heads * width, last = edges.slots();
    const int block_size = block_length<T>(row_width);
    const auto memory = scratch<T>(kMaxEdges * heads);
    T* coefficients = memory.get();
    Multipliers<T> multipliers(dropout, edge_weight, edges, range, heads, block_size);
    Softmax<T> softmax(heads);
    ShiftedRows<T> keys(features, row_width, block_size);
    Rows<T> values;
    const Upcoming<T> upcoming{key, row_width, edges.indices, last};
    const Upcoming<T> upcoming_values{value, row_width, edges.indices, last};
    const int64_t ahead = prefetch_distance<T>(row_width * (value == key ? 1 : 2));
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t begin = edges.indptr[i], end = edges.indptr[i + 1];
      T* sum = out + i * row_width;
      if (begin == end) {
        std::fill_n(sum, row_width, T(0));
        std::fill_n(lse + i * heads, heads, T(0));
        continue;
      }
      const bool single_block = end - begin <= block_size;
      for (int64_t slot = begin; slot < end; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, end - slot));
        const T* const* key_rows = keys.gather(key, edges.indices + slot, edges.edge_ids + slot, n);
        values.gather(value, row_width, edges.indices + slot, n);
        score_rows(shape, key_rows, n, heads, query + i * row_width, att, slope, upcoming, slot + ahead, coefficients);
        softmax.block(coefficients, n, slot == begin);
        if (slot > begin) scale_heads(shape, heads, softmax.scale, sum);
        if (single_block) {
          softmax.finish(lse + i * heads);
          scale_block(coefficients, n, heads, softmax.scale);
        }
        if (multipliers) {
          const T* multiplier = multipliers.next(n);
          for (int64_t at = 0; at < whole_quads(n) * heads * 4; at += 4) {
            store(coefficients + at, load<4>(coefficients + at) * load<4>(multiplier + at));
          }
        }
        if (value == key) {  // already requested, as keys
          sum_rows(shape, values.at, n, heads, coefficients, sum, slot == begin, [](int) { return NothingToFetch{}; });
        } else {
          const auto meanwhile = [&](int b) { return upcoming_values.quad(slot + ahead + b); };
          sum_rows(shape, values.at, n, heads, coefficients, sum, slot == begin, meanwhile);
        }
      }
      if (!single_block) {
        softmax.finish(lse + i * heads);
        scale_heads(shape, heads, softmax.scale, sum);
      }
    }
  }
};

// Scores and dots of a block -> ds_ij (in place of the dots) and coefficients times multiplier (in place of the
// scores); of the edges that fill up the last four, both are 0.
template <class T>
LCAT_INLINE void differentiate(T* scores, T* dots, const T* lse, const T* delta, int64_t step, const T* multiplier,
                               int n, int64_t heads) {
  const int quads = whole_quads(n);
  const int64_t stride = heads * 4;
  for (int b = n; b < quads * 4; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      scores[quad_order(b, h, heads)] = -INFINITY;
      dots[quad_order(b, h, heads)] = 0;
    }
  }
  with_lanes<T>(stride, [&](auto lanes) __attribute__((always_inline)) {
    constexpr int L = decltype(lanes)::value;
    for (int q = 0; q < quads; ++q) {
      for (int64_t c = 0, at = q * stride; c < stride; c += L, at += L) {
        store(scores + at, load<L>(scores + at) - load<L>(lse + q * step + c));
      }
    }
    exponential_of_block(scores, quads * stride);
    for (int q = 0; q < quads; ++q) {
      for (int64_t c = 0, at = q * stride; c < stride; c += L, at += L) {
        const auto p = load<L>(scores + at), d = load<L>(delta + q * step + c);
        if (multiplier) {
          const auto m = load<L>(multiplier + at);
          store(dots + at, p * (load<L>(dots + at) * m - d));
          store(scores + at, p * m);
        } else {
          store(dots + at, p * (load<L>(dots + at) - d));
        }
      }
    }
  });
}

// to += sum * row; says so if the row has numbers that are too large for it.
template <class T>
LCAT_INLINE void add_products(const T* sum, const T* row, int64_t width, T* to, std::atomic<bool>* large) {
  constexpr T limit = T(1 << 30);
  bool within = true;
  for (int64_t f = 0; f < width; ++f) {
    to[f] += sum[f] * row[f];
    within &= row[f] < limit && row[f] > -limit;
  }
  if (!within) *large = true;
}

template <class T>
struct WideGatv2ByTarget {
  const T *gradient, *key, *query, *value, *att, *edge_weight, *packed;
  EdgeFeatures<T> features;
  SortedEdges edges;
  T *d_query, *d_edge_weight, *d_edge_attr;  // each may be null
  T *att_sums, *matrix_sums;            // one row per chunk of H * F and count * H * F numbers, filled with 0; may be null
  bool att_by_edge;                     // whether att_sums are the whole gradient, made edge by edge
  int64_t heads, width;
  T slope;
  Dropout dropout;
  std::atomic<bool>* large;  // becomes true where att_sums need att_by_edge

  template <class Shape>
  void run(const Shape& shape, int chunk, Range range) const {
    const int64_t row_width = heads * width, last = edges.slots(), stride = heads * 4;
    const int64_t size = kMaxEdges * heads;
    const int block_size = block_length<T>(row_width);
    const auto memory = scratch<T>(size * 2 + stride * 2 + row_width);
    T *scores = memory.get(), *dots = scores + size, *lse = dots + size, *delta = lse + stride, *sum = delta + stride;
    Multipliers<T> multipliers(dropout, edge_weight, edges, range, heads, block_size);
    Multipliers<T> kept(d_edge_weight ? dropout : Dropout(0, 0), nullptr, edges, range, heads, block_size);
    ShiftedRows<T> keys(features, row_width, block_size);
    Rows<T> values;
    const Upcoming<T> upcoming{key, row_width, edges.indices, last};
    const Upcoming<T> upcoming_values{value, row_width, edges.indices, last};
    const int64_t ahead = prefetch_distance<T>(row_width * (value == key ? 1 : 2));
    for (int64_t i = range.begin; i < range.end; ++i) {
      const T *query_row = query + i * row_width, *pack = packed + i * heads * 2;
      if (edges.indptr[i] == edges.indptr[i + 1]) {  // nothing of this row counts, infinite or not
        if (d_query) std::fill_n(d_query + i * row_width, row_width, T(0));
        continue;
      }
      for (int64_t h = 0; h < heads; ++h) {
        store(lse + h * 4, splat<4>(pack[h]));
        store(delta + h * 4, splat<4>(pack[heads + h]));
      }
      std::fill_n(sum, row_width, T(0));
      for (int64_t slot = edges.indptr[i]; slot < edges.indptr[i + 1]; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, edges.indptr[i + 1] - slot));
        const T* const* key_rows = keys.gather(key, edges.indices + slot, edges.edge_ids + slot, n);
        values.gather(value, row_width, edges.indices + slot, n);
        score_and_dot_rows(shape, key_rows, values.at, n, heads, query_row, att, gradient + i * row_width, slope,
                           upcoming, upcoming_values, slot + ahead, scores, dots);
        if (d_edge_weight) weight_gradient(slot, n, scores, dots, lse, kept ? kept.next(n) : nullptr);
        differentiate(scores, dots, lse, delta, 0, multipliers ? multipliers.next(n) : nullptr, n, heads);
        add_where_active(shape, key_rows, n, heads, query_row, dots, sum);
        if (att_sums && att_by_edge) add_att(key_rows, n, query_row, dots, att_sums + chunk * row_width);
        if (features && matrix_sums) {
          for (int b = 0; b < n; ++b) {
            const int64_t e = edges.edge_ids[slot + b];
            T* d_attr = d_edge_attr ? d_edge_attr + e * features.count : nullptr;
            feature_gradients(features, att, key_rows[b], query_row, dots + quad_order(b, 0, heads), 4, heads, width,
                              slope, features.attr + e * features.count, d_attr,
                              matrix_sums + chunk * features.count * row_width);
          }
        }
      }
      for (int64_t f = 0; f < row_width; ++f) sum[f] *= 1 - slope;
      if (att_sums && !att_by_edge) {
        add_products(sum, query_row, row_width, att_sums + chunk * row_width, large);
      }
      if (d_query) {
        for (int64_t f = 0; f < row_width; ++f) d_query[i * row_width + f] = sum[f] * att[f];
      }
    }
  }

  void add_att(const T* const* key_rows, int n, const T* query_row, const T* ds, T* to) const {
    for (int b = 0; b < n; ++b) {
      for (int64_t h = 0; h < heads; ++h) {
        const T pull = ds[quad_order(b, h, heads)];
        for (int64_t f = h * width; f < (h + 1) * width; ++f) {
          const T z = key_rows[b][f] + query_row[f];
          to[f] += pull * (z > 0 ? z : z * slope);
        }
      }
    }
  }

  void weight_gradient(int64_t slot, int n, const T* scores, const T* dots, const T* lse, const T* kept) const {
    for (int b = 0; b < n; ++b) {
      T sum = 0;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = quad_order(b, h, heads);
        sum += exponential(scores[at] - lse[h * 4]) * (kept ? kept[at] : T(1)) * dots[at];
      }
      d_edge_weight[edges.edge_ids[slot + b]] = sum;
    }
  }
};

template <class T>
struct WideGatv2BySource {
  const T *gradient, *key, *query, *value, *att, *edge_weight, *packed;
  EdgeFeatures<T> features;
  SortedEdges edges;
  T *d_key, *d_value;  // where value is key, d_key is the whole gradient and d_value null
  T* att_sums;         // as above
  int64_t heads, width;
  T slope;
  Dropout dropout;
  std::atomic<bool>* large;

  template <class Shape>
  void run(const Shape& shape, int chunk, Range range) const {
    const int64_t row_width = heads * width, last = edges.slots(), stride = heads * 4;
    const int64_t size = kMaxEdges * heads;
    const int block_size = block_length<T>(row_width);
    const auto memory = scratch<T>(size * 4 + stride + row_width * 2);
    T *scores = memory.get(), *dots = scores + size, *lses = dots + size, *deltas = lses + size, *total = deltas + size,
      *sum = total + stride, *value_sum = sum + row_width;
    Multipliers<T> multipliers(dropout, edge_weight, edges, range, heads, block_size);
    ShiftedRows<T> queries(features, row_width, block_size);
    Rows<T> gradients, packs;
    const Upcoming<T> upcoming{query, row_width, edges.indices, last};
    const Upcoming<T> upcoming_gradients{gradient, row_width, edges.indices, last};
    const int64_t ahead = prefetch_distance<T>(row_width * 2);
    for (int64_t j = range.begin; j < range.end; ++j) {
      const T *key_row = key + j * row_width, *value_row = value + j * row_width;
      if (edges.indptr[j] == edges.indptr[j + 1]) {  // nothing of this row counts, infinite or not
        if (d_key) std::fill_n(d_key + j * row_width, row_width, T(0));
        if (d_value) std::fill_n(d_value + j * row_width, row_width, T(0));
        continue;
      }
      std::fill_n(sum, row_width, T(0));
      std::fill_n(value_sum, row_width, T(0));
      std::fill_n(total, stride, T(0));
      for (int64_t slot = edges.indptr[j]; slot < edges.indptr[j + 1]; slot += block_size) {
        const int n = int(std::min<int64_t>(block_size, edges.indptr[j + 1] - slot)), quads = whole_quads(n);
        for (int b = 0; b < n; ++b) {
          prefetch_row(packed + edges.indices[std::min(slot + ahead + b, last - 1)] * heads * 2, heads * 2);
        }
        const T* const* query_rows = queries.gather(query, edges.indices + slot, edges.edge_ids + slot, n);
        gradients.gather(gradient, row_width, edges.indices + slot, n);
        score_and_dot_rows(shape, query_rows, gradients.at, n, heads, key_row, att, value_row, slope, upcoming,
                           upcoming_gradients, slot + ahead, scores, dots);
        packs.gather(packed, heads * 2, edges.indices + slot, n);
        gather_heads(packs.at, n, heads, lses);
        for (int b = 0; b < quads * 4; ++b) packs.at[b] += heads;
        gather_heads(packs.at, n, heads, deltas);
        differentiate(scores, dots, lses, deltas, stride, multipliers ? multipliers.next(n) : nullptr, n, heads);
        for (int quad = 0; quad < quads; ++quad) {
          for (int64_t c = 0; c < stride; c += 4) {
            store(total + c, load<4>(total + c) + load<4>(dots + quad * stride + c));
          }
        }
        add_where_active(shape, query_rows, n, heads, key_row, dots, sum);
        sum_rows(shape, gradients.at, n, heads, scores, value_sum, false, [](int) { return NothingToFetch{}; });
      }
      finish(chunk, j, key_row, total, sum, value_sum);
    }
  }

  void finish(int chunk, int64_t j, const T* key_row, const T* total, T* sum, const T* value_sum) const {
    const int64_t row_width = heads * width;
    for (int64_t h = 0; h < heads; ++h) {
      const T* four = total + h * 4;
      const T below = slope * ((four[0] + four[1]) + (four[2] + four[3]));
      for (int64_t f = h * width; f < (h + 1) * width; ++f) sum[f] = (1 - slope) * sum[f] + below;
    }
    if (att_sums) add_products(sum, key_row, row_width, att_sums + chunk * row_width, large);
    T *to_key = d_key ? d_key + j * row_width : nullptr, *to_value = d_value ? d_value + j * row_width : nullptr;
    if (to_key) {
      if (value == key) {
        for (int64_t f = 0; f < row_width; ++f) to_key[f] = sum[f] * att[f] + value_sum[f];
      } else {
        for (int64_t f = 0; f < row_width; ++f) to_key[f] = sum[f] * att[f];
      }
    }
    if (to_value) std::copy_n(value_sum, row_width, to_value);
  }
};

}  // namespace lcat
