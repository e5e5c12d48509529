// dot_attention: with p_ij = softmax_j(scale (<q_i, k_j> + <u_i, e_ij>)) of each head,
//     y_i = sum_{j -> i} w_ij p_ij v_j    and    a_i = sum_{j -> i} w_ij p_ij e_ij,
// where the features e of an edge are the same for all heads, and u (query_edge) and a have a row of them for each head.
//
// The backward pass visits the edges twice, by target for dq, du and the gradients of edges, and by source for dk and dv.
// Both compute p_ij anew from lse. With g and b for the gradients of y and a,
//     ds_ij = p_ij (w_ij (<g_i, v_j> + <b_i, e_ij>) - <g_i, y_i> - <b_i, a_i>).
#include <cstdint>
#include <new>

#include "export.h"
#include "row_attention.h"

namespace lcat {
namespace {

// Features of edges. Where those of a head fit one vector, or are a power of two, all heads read the same numbers; else
// rows are made with a copy for each head.
template <class T>
struct SharedFeatures {
  const T* attr;  // [E, count]
  int64_t count, heads;
  const RowShape<T>* shape;  // of a row; null where there are no features

  explicit operator bool() const { return shape != nullptr; }
  bool are_copied() const { return shape->packed || (shape->per_head > 1 && (count & (count - 1)) != 0); }
  // Bits of a place in a row of all heads that are left in the features of an edge.
  int64_t mask() const { return are_copied() ? ~int64_t(0) : shape->per_head > 1 ? count - 1 : 0; }
  int64_t row() const { return shape ? shape->row : 0; }
  // Numbers that the row of a head begins before its place in a row of all heads.
  int64_t step_back() const { return are_copied() ? 0 : count; }
};

template <class T>
class FeatureRows {
 public:
  FeatureRows(const SharedFeatures<T>& features, int block_size)
      : features_(features),
        memory_(scratch<T>(features && features.are_copied() ? features.row() * block_size : 0)) {}

  void gather(EdgeRows<T>& rows, const int32_t* edge_ids, int n) const {
    const int64_t count = features_.count;
    if (!features_.are_copied()) return rows.gather(features_.attr, count, edge_ids, n);
    for (int b = 0; b < n; ++b) {
      const T* from = features_.attr + edge_ids[b] * count;
      T* to = memory_.get() + b * features_.row();
      rows.at[b] = to;
      for (int64_t h = 0; h < features_.heads; ++h, to += count) std::copy_n(from, count, to);
    }
    rows.repeat_last(n);
  }

  // Asks for the features of n later edges, which lie anywhere in memory.
  LCAT_INLINE void request(const SortedEdges& edges, int64_t slot, int n) const {
    const int64_t last = edges.slots() - 1;
    for (int b = 0; b < n; ++b) {
      prefetch_row(features_.attr + edges.edge_ids[std::min(slot + b, last)] * features_.count, features_.count);
    }
  }

 private:
  const SharedFeatures<T>& features_;
  Memory<T> memory_;
};

// sums[at(b, h)] = (<a[b], b[b]> + <c[b], d[b]>) * factor, the second product where there are features, which are d.
// `meanwhile` is called with each edge and offset.
template <class T, class Meanwhile>
LCAT_INLINE void sum_products(const RowShape<T>& shape, const SharedFeatures<T>& features, int n, T factor,
                              const EdgeRows<T>& a, const EdgeRows<T>& b, const EdgeRows<T>& c, const EdgeRows<T>& d,
                              T* more, T* sums, const Meanwhile& meanwhile) {
  constexpr int W = kWidest<T>;
  sum_over_heads(shape, n, sums, [&](int i, int64_t f, auto load) __attribute__((always_inline)) {
    meanwhile(i, f);
    return load(a[i] + f) * load(b[i] + f);
  });
  if (features) {
    const int64_t mask = features.mask();
    sum_over_heads(*features.shape, n, more, [&](int i, int64_t f, auto load) __attribute__((always_inline)) {
      return load(c[i] + f) * load(d[i] + (f & mask));
    });
  }
  if (!features && factor == T(1)) return;
  for_coefficients(shape, n, [&](int64_t at, int64_t) __attribute__((always_inline)) {
    auto sum = load<W>(sums + at);
    if (features) sum += load<W>(more + at);
    store(sums + at, sum * factor);
  });
}

template <class T>
struct DotScores {
  static constexpr bool kTwoSums = true;
  const RowShape<T>& shape;
  const T *query, *key, *value, *query_edge;
  const SharedFeatures<T>& features;
  const SortedEdges& edges;
  T scale;

  struct Work {
    const FeatureRows<T> copies;
    const int64_t last, ahead;
    const Memory<T> more;
    EdgeRows<T> keys, queries, next_keys, edge_queries, values, next_values, more_values;

    Work(const DotScores& scores, int block_size)
        : copies(scores.features, block_size),
          last(scores.edges.slots()),
          ahead(block_size),
          more(scratch<T>(scores.features ? scores.shape.room(kMaxEdges) : 0)) {}

    LCAT_INLINE void fetch_values(int b, int64_t f) const { __builtin_prefetch(next_values[b] + f); }
  };

  int64_t row_width() const { return shape.row + features.row(); }
  int block_size() const { return edges_of_block<T>(row_width(), kNextCache); }
  const RowShape<T>* more_shape() const { return features.shape; }
  int64_t more_shared() const { return features.step_back(); }

  LCAT_INLINE void make(Work& work, const Segments& segments, int64_t slot, int n, T* scores) const {
    const int32_t* indices = edges.indices + slot;
    work.keys.gather(key, shape.row, indices, n);
    work.next_keys.gather_ahead(key, shape.row, edges.indices, slot + work.ahead, work.last, n);
    work.values.gather(value, shape.row, indices, n);
    work.next_values.gather_ahead(value, shape.row, edges.indices, slot + work.ahead, work.last, n);
    work.queries.repeat(query, shape.row, segments);
    if (features) {
      work.copies.gather(work.more_values, edges.edge_ids + slot, n);
      work.copies.request(edges, slot + work.ahead, n);
      work.edge_queries.repeat(query_edge, features.row(), segments);
    }
    sum_products(shape, features, n, scale, work.keys, work.queries, work.edge_queries, work.more_values,
                 work.more.get(), scores, [&](int b, int64_t f) __attribute__((always_inline)) {
                   __builtin_prefetch(work.next_keys[b] + f);
                 });
  }
};

// One pass over the edges: by target for dq, du and the gradients of edges, or by source for dk and dv. `own` is the query
// and `others` the keys, or the reverse; `mate` is the gradient and `mates` the values, or the reverse.
template <class T, bool BySource>
struct DotPass {
  const RowShape<T>& shape;
  const T *own, *others, *mate, *mates, *query_edge, *edge_gradient, *edge_weight, *packed;
  const SharedFeatures<T>& features;
  SortedEdges edges;
  T *d_own, *d_more;               // dq and du, or dk and dv; each may be null
  T *d_edge_attr, *d_edge_weight;  // by target; each may be null
  T scale;
  Dropout dropout;

  int64_t row_width() const { return shape.row + features.row(); }
  int64_t piece_size() const { return shape.row + (BySource ? shape.row : features.row()); }

  // The sums of a block that begin in the block before, or go on in the next one or in another part.
  struct Ends {
    const T* from = nullptr;  // what the first segment has already
    T *first = nullptr, *last = nullptr;  // where the sums of the first and the last segment are left unfinished
  };

  void run(const Part& part, int, const Pieces<T>& pieces) const {
    constexpr int W = kWidest<T>;
    const int64_t room = shape.room(kMaxEdges), last = edges.slots();
    const int block_size = edges_of_block<T>(row_width(), kNextCache);
    const EdgeFactors<T> factors(shape, dropout, edge_weight);
    const Dropout none(0, 0);
    const EdgeFactors<T> dropped(shape, d_edge_weight ? dropout : none, nullptr);
    const FeatureRows<T> copies(features, block_size);
    const auto memory = scratch<T>(room * 5 + piece_size());
    T *scores = memory.get(), *dots = scores + room, *lses = dots + room, *deltas = lses + room, *more = deltas + room,
      *carry = more + room;
    EdgeRows<T> own_rows, other_rows, mate_rows, mates_rows, next_others, next_mates, attrs, edge_queries,
        edge_gradients;
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
      next_others.gather_ahead(others, shape.row, edges.indices, slot + block_size, last, n);
      mates_rows.gather(mates, shape.row, indices, n);
      next_mates.gather_ahead(mates, shape.row, edges.indices, slot + block_size, last, n);
      if constexpr (BySource) {
        for (int b = 0; b < n; ++b) {
          target[b] = indices[b];
          prefetch_row(packed + edges.indices[std::min(slot + block_size + b, last - 1)] * shape.stride * 2,
                       shape.stride * 2);
        }
      } else {
        for (int s = 0; s < segments.count; ++s) {
          std::fill(target + segments.begin[s], target + segments.begin[s + 1], segments.row[s]);
        }
      }
      if (features) {
        copies.gather(attrs, edge_ids, n);
        copies.request(edges, slot + block_size, n);
        if constexpr (BySource) {
          edge_queries.gather(query_edge, features.row(), indices, n);
          edge_gradients.gather(edge_gradient, features.row(), indices, n);
          for (int b = 0; b < n; ++b) {
            const int64_t next = edges.indices[std::min(slot + block_size + b, last - 1)];
            prefetch_row(query_edge + next * features.row(), features.row());
            prefetch_row(edge_gradient + next * features.row(), features.row());
          }
        } else {
          edge_queries.repeat(query_edge, features.row(), segments);
          edge_gradients.repeat(edge_gradient, features.row(), segments);
        }
      }
      sum_products(shape, features, n, scale, other_rows, own_rows, edge_queries, attrs, more, scores,
                   [&](int b, int64_t f) __attribute__((always_inline)) { __builtin_prefetch(next_others[b] + f); });
      sum_products(shape, features, n, T(1), mates_rows, mate_rows, edge_gradients, attrs, more, dots,
                   [](int, int64_t) __attribute__((always_inline)) {});
      gather_targets(shape.stride, packed, target, n, lses, deltas);
      const T* multiplier = factors ? factors.of(edge_ids, n) : nullptr;
      if (d_edge_weight) {
        weight_gradient(edge_ids, n, scores, dots, lses, dropped ? dropped.of(edge_ids, n) : nullptr);
      }
      // scores -> coefficients times multiplier, dots -> ds times scale
      for_coefficients(shape, n, [&](int64_t at, int64_t) __attribute__((always_inline)) {
        const auto p = exponential(load<W>(scores + at) - load<W>(lses + at));
        const auto dot = load<W>(dots + at), delta = load<W>(deltas + at);
        if (multiplier) {
          const auto m = load<W>(multiplier + at);
          store(dots + at, p * (dot * m - delta) * scale);
          store(scores + at, p * m);
        } else {
          store(dots + at, p * (dot - delta) * scale);
          store(scores + at, p);
        }
      });
      add_all(segments, other_rows, BySource ? mates_rows : attrs, dots, scores, ends, next_mates);
      if (d_edge_attr) {
        for (int b = 0; b < n; ++b) {
          feature_gradient(edge_queries[b], edge_gradients[b], dots + b * shape.stride, scores + b * shape.stride,
                           d_edge_attr + edge_ids[b] * features.count);
        }
      }
    }
    for (; row < part.rows.end; ++row) {
      if (edges.indptr[row + 1] == edges.indptr[row]) clear(row);
    }
  }

  const RowShape<T>& more_shape() const { return BySource ? shape : *features.shape; }

  // Nothing of a row without edges counts, infinite or not.
  void clear(int64_t row) const {
    if (d_own) std::fill_n(d_own + row * shape.row, shape.row, T(0));
    if (d_more) std::fill_n(d_more + row * more_shape().row, more_shape().row, T(0));
  }

  void add_all(const Segments& segments, const EdgeRows<T>& rows, const EdgeRows<T>& more_rows, const T* ds,
               const T* coefficients, const Ends& ends, const EdgeRows<T>& next) const {
    if (d_own) {
      add(shape, segments, rows, ds, ends, 0, d_own, 0,
          [&](int b, int64_t f) __attribute__((always_inline)) { __builtin_prefetch(next[b] + f); });
    }
    if (d_more) {
      add(more_shape(), segments, more_rows, BySource ? coefficients : ds, ends, shape.row, d_more,
          BySource ? 0 : features.step_back(),
          [](int, int64_t) __attribute__((always_inline)) {});
    }
  }

  // to[segment] = the sum of its rows by their weights, with what there is of it already `offset` numbers behind an end.
  // `shared`: the width of rows that are those of one head, for all of them; else 0.
  template <class Meanwhile>
  static void add(const RowShape<T>& of, const Segments& segments, const EdgeRows<T>& rows, const T* weights,
                  const Ends& ends, int64_t offset, T* to, int64_t shared, const Meanwhile& meanwhile) {
    sum_segments(
        of, segments, weights,
        [](int, const auto&) __attribute__((always_inline)) { return Vector<T, kWidest<T>>{}; },
        [&](auto sum, auto w, auto, int b, const auto& column) __attribute__((always_inline)) {
          meanwhile(b, column.offset);
          return sum + w * column.load(rows[b] - column.head * shared);
        },
        [&](int s, const auto& column, auto sum) __attribute__((always_inline)) {
          if (s == 0 && ends.from) sum += column.load(ends.from + offset);
          T* unfinished = s == 0 ? ends.first : nullptr;
          if (s == segments.count - 1 && ends.last) unfinished = ends.last;
          column.store(unfinished ? unfinished + offset : to + segments.row[s] * of.row, sum);
        });
  }

  // The pieces of a row as one segment that has no edges of its own.
  void join(int64_t row, const std::vector<const T*>& pieces, int) const {
    const auto sum = scratch<T>(piece_size());
    const bool has_more = d_more != nullptr;
    std::fill_n(sum.get(), piece_size(), T(0));
    for (const T* piece : pieces) {
      if (d_own) {
        for (int64_t f = 0; f < shape.row; ++f) sum[f] += piece[f];
      }
      if (has_more) {
        for (int64_t f = shape.row; f < piece_size(); ++f) sum[f] += piece[f];
      }
    }
    if (d_own) std::copy_n(sum.get(), shape.row, d_own + row * shape.row);
    if (has_more) std::copy_n(sum.get() + shape.row, more_shape().row, d_more + row * more_shape().row);
  }

  // de_ij: over the heads, ds times u_i and coefficients times b_i.
  void feature_gradient(const T* edge_query, const T* gradient, const T* ds, const T* coefficients, T* to) const {
    const int64_t count = features.count;
    std::fill_n(to, count, T(0));
    for (int64_t h = 0; h < shape.heads; ++h, edge_query += count, gradient += count) {
      for (int64_t d = 0; d < count; ++d) to[d] += ds[h] * edge_query[d] + coefficients[h] * gradient[d];
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

template <class T>
struct DotInputs {
  const T *query, *key, *value, *edge_attr, *query_edge, *edge_weight;
  int64_t edge_width, heads, width;
  T scale;
  Dropout dropout;
  int threads;
};

// The shapes of rows and of the features of edges.
template <class T>
struct DotShapes {
  const RowShape<T> shape, feature_shape;
  const SharedFeatures<T> features;

  explicit DotShapes(const DotInputs<T>& in)
      : shape(in.heads, in.width),
        feature_shape(in.heads, std::max<int64_t>(in.edge_width, 1)),
        features{in.edge_attr, in.edge_width, in.heads, in.edge_width > 0 ? &feature_shape : nullptr} {}
};

template <class T>
int dot_forward(const DotInputs<T>& in, const SortedEdges& edges, T* out, T* attended, T* lse) {
  const DotShapes<T> shapes(in);
  const DotScores<T> scores{shapes.shape, in.query, in.key, in.value, in.query_edge, shapes.features, edges, in.scale};
  const RowAttention<T, DotScores<T>> kernel{shapes.shape, scores, in.edge_weight, edges, out, lse, attended,
                                             in.dropout};
  return launch_parts<T>(kernel, in.threads, 4);
}

template <class T>
struct DotGradients {
  T *query, *key, *value, *edge_attr, *query_edge, *edge_weight;  // each may be null
};

template <class T>
int dot_backward(const DotInputs<T>& in, const T* gradient, const T* edge_gradient, const T* out, const T* attended,
                 const T* lse, const SortedEdges& by_target, const SortedEdges& by_source,
                 const DotGradients<T>& to) {
  constexpr int kPasses = 8;
  const DotShapes<T> shapes(in);
  const RowShape<T>& shape = shapes.shape;
  const int64_t targets = by_target.rows;
  const auto packed = scratch<T>(targets * shape.stride * 2);
  const double nodes_cost = double(targets) * double(shape.row + shapes.features.row() + 16);
  const int node_chunks = chunks_for(nodes_cost);
  const AttentionTargets<T> of_targets{shape, gradient, out, lse, packed.get(), shape.stride,
                                       shapes.features.shape, edge_gradient, attended};
  int status = for_chunks(threads_for(nodes_cost, in.threads), node_chunks,
                          [&](int chunk) { of_targets.run(part_of_chunk(targets, chunk, node_chunks)); });
  if (status != kDone) return status;
  if (by_target.slots() < by_target.count) {  // no kernel visits the edges beyond the last group
    if (to.edge_weight) std::fill_n(to.edge_weight, by_target.count, T(0));
    if (to.edge_attr) std::fill_n(to.edge_attr, by_target.count * in.edge_width, T(0));
  }
  if (to.query || to.query_edge || to.edge_attr || to.edge_weight) {
    const DotPass<T, false> pass{shape, in.query, in.key, gradient, in.value, in.query_edge, edge_gradient,
                                 in.edge_weight, packed.get(), shapes.features, by_target, to.query, to.query_edge,
                                 to.edge_attr, to.edge_weight, in.scale, in.dropout};
    status = launch_parts<T>(pass, in.threads, kPasses);
    if (status != kDone) return status;
  }
  if (to.key || to.value) {
    const DotPass<T, true> pass{shape, in.key, in.query, in.value, gradient, in.query_edge, edge_gradient,
                                in.edge_weight, packed.get(), shapes.features, by_source, to.key, to.value, nullptr,
                                nullptr, in.scale, in.dropout};
    status = launch_parts<T>(pass, in.threads, kPasses);
  }
  return status;
}

}  // namespace
}  // namespace lcat

#define LCAT_DOT_ATTENTION(NAME, T)                                                                                  \
  LCAT_EXPORT int lcat_dot_attention_forward_##NAME(const T* query, const T* key, const T* value,                    \
      const T* edge_attr, const T* query_edge, int64_t edge_width, const T* edge_weight, const int64_t* indptr,      \
      const int32_t* indices, const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, T* out,      \
      T* attended, T* lse, int64_t rows, int64_t heads, int64_t width, double scale, double dropout, int64_t seed,   \
      int threads) {                                                                                                 \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                         \
    try {                                                                                                            \
      return lcat::dot_forward<T>({query, key, value, edge_attr, query_edge, edge_weight, edge_width, heads, width,  \
                                   T(scale), lcat::Dropout(dropout, seed), threads},                                 \
                                  edges, out, attended, lse);                                                        \
    } catch (const std::bad_alloc&) {                                                                                \
      return lcat::kNoMemory;                                                                                        \
    }                                                                                                                \
  }                                                                                                                  \
  LCAT_EXPORT int lcat_dot_attention_backward_##NAME(const T* gradient, const T* edge_gradient, const T* query,      \
      const T* key, const T* value, const T* edge_attr, const T* query_edge, int64_t edge_width,                     \
      const T* edge_weight, const T* out, const T* attended, const T* lse, const int64_t* indptr,                    \
      const int32_t* indices, const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge,              \
      const int64_t* source_indptr, const int32_t* source_indices, const int32_t* source_edge_ids,                   \
      int64_t source_count, int64_t source_others, int64_t source_per_edge, T* d_query, T* d_key, T* d_value,        \
      T* d_edge_attr, T* d_query_edge, T* d_edge_weight, int64_t rows, int64_t sources, int64_t heads,               \
      int64_t width, double scale, double dropout, int64_t seed, int threads) {                                      \
    const lcat::SortedEdges by_target{indptr, indices, edge_ids, rows, count, others, per_edge};                     \
    const lcat::SortedEdges by_source{source_indptr, source_indices, source_edge_ids, sources, source_count,         \
                                      source_others, source_per_edge};                                               \
    try {                                                                                                            \
      return lcat::dot_backward<T>({query, key, value, edge_attr, query_edge, edge_weight, edge_width, heads, width, \
                                    T(scale), lcat::Dropout(dropout, seed), threads},                                \
                                   gradient, edge_gradient, out, attended, lse, by_target, by_source,                \
                                   {d_query, d_key, d_value, d_edge_attr, d_query_edge, d_edge_weight});             \
    } catch (const std::bad_alloc&) {                                                                                \
      return lcat::kNoMemory;                                                                                        \
    }                                                                                                                \
  }
LCAT_DOT_ATTENTION(f32, float)
LCAT_DOT_ATTENTION(f64, double)
