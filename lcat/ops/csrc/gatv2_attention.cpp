// gatv2_attention: y_i = sum_{j -> i} w_ij softmax_j(att . LeakyReLU(z_ij)) v_j with
// z_ij = k_j + q_i + matrix . attr_ij.
//
// The backward pass visits the edges twice, by target for dq and by source for dk and dv, and computes the
// softmax coefficients p_ij anew from lse. Two sums are saved by algebra:
// - ds_ij sums to zero over j, so that dq_i = att (1 - slope) sum_{z > 0} ds_ij, feature by feature;
// - LeakyReLU(z) = LeakyReLU'(z) z, so that datt = sum_ij ds_ij LeakyReLU'(z_ij) z_ij falls apart into sums over
//   targets (times q_i), over sources (times k_j) and over features, which need no visit of the edges. Where q or k is
//   so large that these sums may overflow or cancel, while z does not, they are made edge by edge instead.
#include <cstdint>
#include <new>

#include "export.h"
#include "gatv2_narrow.h"
#include "gatv2_wide.h"

namespace lcat {
namespace {

// Whether the kernels of narrow rows do it, which ask more of the caches than those of wide rows: for rows of up to
// kNarrow numbers (for one head that wide only in small tables), and where one row has so many edges that it must be cut.
// Shorter vectors gain in small tables only.
#if defined(__AVX512F__)
constexpr int64_t kNarrow = 64, kSmallTable = 1 << 20;
constexpr bool kLongVectors = true;
#else
constexpr int64_t kNarrow = 16, kSmallTable = 1 << 16;
constexpr bool kLongVectors = false;
#endif

template <class T>
bool is_narrow(const RowShape<T>& shape, const SortedEdges& edges) {
  const bool always = kLongVectors && (shape.row <= kNarrow / 2 || shape.heads > 1);
  if (shape.row <= kNarrow && (always || edges.others * shape.row <= kSmallTable)) return true;
  const int64_t many = std::max<int64_t>(edges.count / 8, kLongRow);
  bool any = false;
  for (int64_t i = 0; i < edges.rows; ++i) any |= edges.indptr[i + 1] - edges.indptr[i] >= many;
  return any;
}

// The whole backward pass: what is known of the targets, the edges by target, the edges by source, and the sums over
// chunks.
template <class T>
struct Gatv2Backward {
  const T *gradient, *key, *query, *value, *att;
  EdgeFeatures<T> features;
  const T *edge_weight, *out, *lse;
  SortedEdges by_target, by_source;
  T *d_key, *d_query, *d_value, *d_att, *d_edge_attr, *d_edge_matrix, *d_edge_weight;  // each may be null
  int64_t heads, width;
  T slope;
  Dropout dropout;
  int threads;

  static constexpr int kPasses = 8;

  int run() const {
    const RowShape<T> shape(heads, width);
    const bool narrow = is_narrow(shape, by_target) || is_narrow(shape, by_source);
    const int64_t row_width = shape.row, targets = by_target.rows, pitch = narrow ? shape.stride : heads;
    const auto packed = scratch<T>(targets * pitch * 2);
    const double nodes_cost = double(targets) * double(row_width + 16);
    const int node_chunks = chunks_for(nodes_cost);
    const AttentionTargets<T> of_targets{shape, gradient, out, lse, packed.get(), pitch};
    int status = for_chunks(threads_for(nodes_cost, threads), node_chunks,
                            [&](int chunk) { of_targets.run(part_of_chunk(targets, chunk, node_chunks)); });
    if (status != kDone) return status;
    clear_dead_edges();

    const bool need_features = features.count > 0 && (d_edge_attr || d_edge_matrix || d_att);
    const int64_t target_chunks = chunks_of(by_target), source_chunks = chunks_of(by_source);
    const auto target_sums = zeros(d_att ? target_chunks * row_width : 0);
    const auto source_sums = zeros(d_att ? source_chunks * row_width : 0);
    const auto matrix_sums = zeros(need_features ? target_chunks * features.count * row_width : 0);
    std::atomic<bool> large{false};
    const auto pass_by_target = [&](T* to_query, T* to_weight, T* to_attr, T* to_matrix, bool att_by_edge) {
      if (narrow) {
        const NarrowGatv2Pass<T, false> pass{shape, query, key, gradient, value, att, edge_weight, packed.get(),
                                             features, by_target, to_query, nullptr, to_weight, to_attr,
                                             target_sums.get(), to_matrix, att_by_edge, slope, dropout, &large};
        return launch_parts<T>(pass, threads, kPasses);
      }
      const WideGatv2ByTarget<T> pass{gradient, key, query, value, att, edge_weight, packed.get(), features, by_target,
                                      to_query, to_weight, to_attr, target_sums.get(), to_matrix, att_by_edge, heads,
                                      width, slope, dropout, &large};
      return launch<T>(pass, threads, kPasses);
    };
    const auto pass_by_source = [&] {
      if (narrow) {
        T* d_mate = value == key ? d_key : d_value;
        const NarrowGatv2Pass<T, true> pass{shape, key, query, value, gradient, att, edge_weight, packed.get(), features,
                                            by_source, d_key, d_mate, nullptr, nullptr, source_sums.get(), nullptr,
                                            false, slope, dropout, &large};
        return launch_parts<T>(pass, threads, kPasses);
      }
      const WideGatv2BySource<T> pass{gradient, key, query, value, att, edge_weight, packed.get(), features, by_source,
                                      d_key, d_value, source_sums.get(), heads, width, slope, dropout, &large};
      return launch<T>(pass, threads, kPasses);
    };
    if (d_query || d_att || d_edge_weight || need_features) {
      status = pass_by_target(d_query, d_edge_weight, d_edge_attr, matrix_sums.get(), false);
      if (status != kDone) return status;
    }
    if (d_key || d_value || d_att) {
      status = pass_by_source();
      if (status != kDone) return status;
    }
    if (d_att && large) {  // a third pass, edge by edge
      std::fill_n(target_sums.get(), target_chunks * row_width, T(0));
      status = pass_by_target(nullptr, nullptr, nullptr, nullptr, true);
      if (status != kDone) return status;
    }
    if (need_features) add_up(matrix_sums.get(), target_chunks, features.count * row_width);
    if (d_att) {
      add_up(target_sums.get(), target_chunks, row_width);
      add_up(source_sums.get(), source_chunks, row_width);
      for (int64_t f = 0; f < row_width; ++f) {
        d_att[f] = target_sums[f];
        if (large) continue;
        d_att[f] += source_sums[f];
        for (int64_t d = 0; d < features.count; ++d) {
          d_att[f] += matrix_sums[d * row_width + f] * features.matrix[d * row_width + f];
        }
      }
    }
    if (d_edge_matrix) {
      for (int64_t f = 0; f < row_width; ++f) {
        for (int64_t d = 0; d < features.count; ++d) {
          d_edge_matrix[f * features.count + d] = matrix_sums[d * row_width + f] * att[f];
        }
      }
    }
    return kDone;
  }

  int chunks_of(const SortedEdges& edges) const {
    return chunks_for(cost_of_edges(edges, heads * width, kPasses));
  }

  static std::unique_ptr<T[]> zeros(int64_t count) {
    return std::unique_ptr<T[]>(count > 0 ? new T[size_t(count)]() : nullptr);
  }

  // The first of `parts` parts of `size` numbers becomes the sum of all.
  static void add_up(T* sums, int64_t parts, int64_t size) {
    for (int64_t part = 1; part < parts; ++part) {
      for (int64_t i = 0; i < size; ++i) sums[i] += sums[part * size + i];
    }
  }

  // No kernel visits the edges beyond the last group: their gradients are 0.
  void clear_dead_edges() const {
    if (by_target.slots() >= by_target.count) return;
    if (d_edge_weight) std::fill_n(d_edge_weight, by_target.count, T(0));
    if (d_edge_attr) std::fill_n(d_edge_attr, by_target.count * features.count, T(0));
  }
};

}  // namespace
}  // namespace lcat

#define LCAT_GATV2_ATTENTION(NAME, T)                                                                                  \
  LCAT_EXPORT int lcat_gatv2_attention_forward_##NAME(const T* key, const T* query, const T* value, const T* att,      \
      const T* edge_attr, const T* edge_matrix, int64_t edge_width, const T* edge_weight, const int64_t* indptr,       \
      const int32_t* indices, const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, T* out,        \
      T* lse, int64_t rows, int64_t heads, int64_t width, double slope, double dropout, int64_t seed, int threads) {   \
    const lcat::EdgeFeatures<T> features{edge_attr, edge_matrix, edge_width};                                          \
    const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};                           \
    try {                                                                                                              \
      const lcat::RowShape<T> shape(heads, width);                                                                     \
      if (!lcat::is_narrow(shape, edges)) {                                                                            \
        return lcat::launch<T>(                                                                                        \
            lcat::WideGatv2Forward<T>{key, query, value, att, edge_weight, features, edges, out, lse, heads, width,    \
                                      T(slope), lcat::Dropout(dropout, seed)},                                         \
            threads);                                                                                                  \
      }                                                                                                                \
      const lcat::NarrowGatv2Scores<T> scores{shape, key, query, value, att, features, edges, T(slope)};               \
      return lcat::launch_parts<T>(                                                                                    \
          lcat::RowAttention<T, lcat::NarrowGatv2Scores<T>>{shape, scores, edge_weight, edges, out, lse, nullptr,      \
                                                            lcat::Dropout(dropout, seed)},                             \
          threads, 4);                                                                                                 \
    } catch (const std::bad_alloc&) {                                                                                  \
      return lcat::kNoMemory;                                                                                          \
    }                                                                                                                  \
  }                                                                                                                    \
  LCAT_EXPORT int lcat_gatv2_attention_backward_##NAME(const T* gradient, const T* key, const T* query,                \
      const T* value, const T* att, const T* edge_attr, const T* edge_matrix, int64_t edge_width,                      \
      const T* edge_weight, const T* out, const T* lse, const int64_t* indptr, const int32_t* indices,                 \
      const int32_t* edge_ids, int64_t count, int64_t others, int64_t per_edge, const int64_t* source_indptr,          \
      const int32_t* source_indices, const int32_t* source_edge_ids, int64_t source_count, int64_t source_others,      \
      int64_t source_per_edge, T* d_key, T* d_query, T* d_value, T* d_att, T* d_edge_attr, T* d_edge_matrix,           \
      T* d_edge_weight, int64_t rows, int64_t sources, int64_t heads, int64_t width, double slope, double dropout,     \
      int64_t seed, int threads) {                                                                                     \
    const lcat::SortedEdges by_target{indptr, indices, edge_ids, rows, count, others, per_edge};                       \
    const lcat::SortedEdges by_source{source_indptr, source_indices, source_edge_ids, sources, source_count,           \
                                      source_others, source_per_edge};                                                 \
    try {                                                                                                              \
      return lcat::Gatv2Backward<T>{gradient, key, query, value, att, {edge_attr, edge_matrix, edge_width},            \
                                    edge_weight, out, lse, by_target, by_source, d_key, d_query, d_value, d_att,       \
                                    d_edge_attr, d_edge_matrix, d_edge_weight, heads, width, T(slope),                 \
                                    lcat::Dropout(dropout, seed), threads}.run();                                      \
    } catch (const std::bad_alloc&) {                                                                                  \
      return lcat::kNoMemory;                                                                                          \
    }                                                                                                                  \
  }
LCAT_GATV2_ATTENTION(f32, float)
LCAT_GATV2_ATTENTION(f64, double)
