// Rows as whole vectors: what the kernels do with a block of edges, whichever nodes they belong to.
//
// Numbers with one value per edge and head ("coefficients") lie edge after edge, the heads of an edge side by side:
//
//     at(b, h) = b * stride + h        stride: a power of two, or a multiple of the lanes of a vector
//
// A block holds the edges of several nodes, so that short rows fill vectors too: each edge has a pointer to the row of
// its own node beside that of the other one, and sums are made segment by segment.
#pragma once

#include <utility>

#include "block.h"
#include "multipliers.h"

namespace lcat {

template <class V, class Index, size_t... Lanes>
LCAT_INLINE V shuffle_by(V a, V b, Index index, std::index_sequence<Lanes...>) {
  return LCAT_SHUFFLE(V, a, b, index(int(Lanes))...);
}

// Lane i of the result is lane index(i) of a, or index(i) - lanes of b.
template <class V, class Index>
LCAT_INLINE V shuffle_by(V a, V b, Index index) {
  return shuffle_by(a, b, index, std::make_index_sequence<size_t(kLanes<V>)>{});
}

constexpr int reversed_bits(int x, int count) {
  int result = 0;
  for (int bit = 1; bit < count; bit *= 2) result = result * 2 + (x & bit ? 1 : 0);
  return result;
}

// From each group of G lanes of a and of b to half as many, those of b in the upper half of each group.
template <int G, class V>
LCAT_INLINE V fold_pair(V a, V b) {
  constexpr int W = kLanes<V>, H = G / 2;
  return shuffle_by(a, b, [](int i) constexpr { return i % G < H ? i : W + i - H; }) +
         shuffle_by(a, b, [](int i) constexpr { return i % G < H ? i + H : W + i; });
}

// The sums over each group of G lanes of G vectors, leaf(0) ... leaf(G - 1): all groups of the first, then of the next.
template <int G, int Count, class V, class Leaf>
LCAT_INLINE V fold_leaves(const Leaf& leaf, int first) {
  if constexpr (Count == 1) {
    return leaf(first);
  } else {
    const V low = fold_leaves<G, Count / 2, V>(leaf, first);
    return fold_pair<G * 2 / Count>(low, fold_leaves<G, Count / 2, V>(leaf, first + Count / 2));
  }
}

template <int G, class V, class Leaf>
LCAT_INLINE V sums_of_groups(const Leaf& leaf) {
  constexpr int K = kLanes<V> / G;  // groups of a vector
  const V sums = fold_leaves<G, G, V>(leaf, 0);
  return shuffle_by(sums, sums, [](int i) constexpr { return i % K * G + reversed_bits(i / K, G); });
}

// How a row of heads * width numbers is cut into vectors: each head into vectors of its own, the last one partial where
// the width asks for it, or, if `packed`, several narrow heads to a vector.
template <class T>
struct RowShape {
  static constexpr int W = kWidest<T>;
  struct Column {
    int64_t offset, head;
    int lanes;
  };
  int64_t heads, width, row, stride;
  bool packed, ragged;
  int per_head, columns;
  std::unique_ptr<Column[]> column;

  RowShape(int64_t heads, int64_t width) : heads(heads), width(width), row(heads * width) {
    stride = heads <= W ? 1 : (heads + W - 1) / W * W;
    while (stride < heads) stride *= 2;
#if defined(__AVX512F__)
    packed = (width == 4 || width == 8) && width < W && heads == stride && row % W == 0;
#else
    packed = false;
#endif
    per_head = int((width + W - 1) / W);
    ragged = !packed && width % W != 0;
    columns = int(packed ? row / W : heads * per_head);
    column.reset(new Column[size_t(columns)]);
    for (int c = 0; c < columns; ++c) {
      if (packed) {
        column[c] = {int64_t(c) * W, c * W / width, W};
      } else {
        const int64_t within = int64_t(c % per_head) * W;
        column[c] = {c / per_head * width + within, c / per_head, int(std::min<int64_t>(W, width - within))};
      }
    }
  }

  // Coefficients of n edges, and room for what is read and written beyond them.
  int64_t room(int n) const { return (n + W) * stride + W; }
  // Coefficients of one edge, repeated to fill a vector.
  int64_t wide() const { return std::max<int64_t>(stride, W); }

  Ints<Vector<T, W>> heads_of_lanes() const {
    Ints<Vector<T, W>> heads{};
    if (packed) {
      for (int i = 0; i < W; ++i) heads[i] = i / int(width);
    }
    return heads;
  }
};

// Edges of a block, and how many edges ahead rows are requested: few enough for all of them to stay in the nearest cache,
// or in the next one, for wide rows whose blocks would be short.
constexpr int64_t kNearestCache = 8192, kNextCache = 32768;
template <class T>
int edges_of_block(int64_t row, int64_t bytes = kNearestCache) {
  const int64_t fitting = bytes / (int64_t(sizeof(T)) * std::max<int64_t>(row, 1));
  return int(std::clamp<int64_t>(fitting / 8 * 8, 8, kMaxEdges));
}

// The edges of a block, node by node; nodes without edges are left out.
struct Segments {
  int count = 0;
  int64_t row[kMaxEdges];
  int begin[kMaxEdges + 1];
};

// Pointers to rows of a block's edges. The last one is repeated: sums of several edges at once may read beyond it.
template <class T>
struct EdgeRows {
  static constexpr int kBeyond = 16;
  const T* at[kMaxEdges + kBeyond];

  LCAT_INLINE const T* operator[](int b) const { return at[b]; }

  LCAT_INLINE void repeat_last(int n) {
    for (int b = n; b < n + kBeyond; ++b) at[b] = at[n - 1];
  }
  LCAT_INLINE void gather(const T* base, int64_t width, const int32_t* indices, int n) {
    for (int b = 0; b < n; ++b) at[b] = base + indices[b] * width;
    repeat_last(n);
  }
  LCAT_INLINE void repeat(const T* base, int64_t width, const Segments& segments) {
    for (int s = 0; s < segments.count; ++s) {
      const T* row = base + segments.row[s] * width;
      for (int b = segments.begin[s]; b < segments.begin[s + 1]; ++b) at[b] = row;
    }
    repeat_last(segments.begin[segments.count]);
  }
  // Rows that will be needed `ahead` slots later.
  LCAT_INLINE void gather_ahead(const T* base, int64_t width, const int32_t* indices, int64_t slot, int64_t last,
                                int n) {
    for (int b = 0; b < n; ++b) at[b] = base + indices[std::min(slot + b, last - 1)] * width;
    repeat_last(n);
  }
};


template <bool Partly, int PerHead, class T, class Product>
LCAT_INLINE void sum_whole_heads(const RowShape<T>& shape, int n, T* out, const Product& product) {
  constexpr int W = kWidest<T>;
  using V = Vector<T, W>;
  const int per_head = PerHead > 0 ? PerHead : shape.per_head;
  const int rest = int(shape.width - (per_head - 1) * W);
  const auto whole = [](const T* p) __attribute__((always_inline)) { return load<kWidest<T>>(p); };
  [[maybe_unused]] const auto partly = [rest](const T* p) __attribute__((always_inline)) {
    return Partial<kWidest<T>, T>::load(p, rest);
  };
  const auto head_of = [&](int b, int64_t h) __attribute__((always_inline)) {
    if (h >= shape.heads) return V{};
    V sum{};
    int64_t f = h * shape.width;
    for (int k = 1; k < per_head; ++k, f += W) sum += product(b, f, whole);
    if constexpr (Partly) {
      if (per_head > 0) sum += product(b, f, partly);
    } else {
      sum += product(b, f, whole);
    }
    return sum;
  };
  if (shape.stride == 1) {
    for (int b = 0; b < n; b += 4) {
      store(out + b, sum_each(head_of(b, 0), head_of(b + 1, 0), head_of(b + 2, 0), head_of(b + 3, 0)));
    }
  } else if (shape.stride == 2) {
    for (int b = 0; b < n; b += 2) {
      store(out + b * 2, sum_each(head_of(b, 0), head_of(b, 1), head_of(b + 1, 0), head_of(b + 1, 1)));
    }
  } else {
    for (int b = 0; b < n; ++b) {
      for (int64_t h = 0; h < shape.stride; h += 4) {
        store(out + b * shape.stride + h,
              sum_each(head_of(b, h), head_of(b, h + 1), head_of(b, h + 2), head_of(b, h + 3)));
      }
    }
  }
}

// Heads of F < W numbers, W / F of them to a vector. Stride: that of the shape, or 0 for a multiple of W.
template <int F, int Stride, class T, class Product>
LCAT_INLINE void sum_packed_heads(const RowShape<T>& shape, int n, T* out, const Product& product) {
  constexpr int W = kWidest<T>, K = W / F;
  using V = Vector<T, W>;
  const auto whole = [](const T* p) __attribute__((always_inline)) { return load<kWidest<T>>(p); };
  if constexpr (Stride > 0) {
    constexpr int columns = Stride / K, edges = W / Stride;
    for (int b = 0; b < n; b += edges) {
      store(out + b * Stride, sums_of_groups<F, V>([&](int e) __attribute__((always_inline)) {
              return product(b + e / columns, int64_t(e % columns) * W, whole);
            }));
    }
  } else {
    for (int b = 0; b < n; ++b) {
      for (int64_t h = 0; h < shape.stride; h += W) {
        store(out + b * shape.stride + h, sums_of_groups<F, V>([&](int e) __attribute__((always_inline)) {
                return product(b, h * F + int64_t(e) * W, whole);
              }));
      }
    }
  }
}

// out[at(b, h)] = sum over the numbers of head h of product(b, offset, load), a vector, where load(p) reads as many
// numbers at p as this vector has. Heads beyond the last get 0, and so many edges beyond n may be computed as a vector
// holds.
template <class T, class Product>
LCAT_INLINE void sum_over_heads(const RowShape<T>& shape, int n, T* out, const Product& product) {
  [[maybe_unused]] constexpr int W = kWidest<T>;
  if (shape.width == 0) {  // there is nothing to read, not even a first vector
    std::fill_n(out, n * shape.stride, T(0));
    return;
  }
#if defined(__AVX512F__)
  if (shape.packed) {
    const int64_t stride = shape.stride;
    if constexpr (W == 16) {
      if (shape.width == 8) {
        if (stride == 2) return sum_packed_heads<8, 2>(shape, n, out, product);
        if (stride == 4) return sum_packed_heads<8, 4>(shape, n, out, product);
        if (stride == 8) return sum_packed_heads<8, 8>(shape, n, out, product);
        return sum_packed_heads<8, 0>(shape, n, out, product);
      }
    }
    if (stride == W / 4) return sum_packed_heads<4, W / 4>(shape, n, out, product);
    if (stride == W / 2) return sum_packed_heads<4, W / 2>(shape, n, out, product);
    return sum_packed_heads<4, 0>(shape, n, out, product);
  }
#endif
  if (shape.ragged) return sum_whole_heads<true, 0>(shape, n, out, product);
  if (shape.per_head == 1) return sum_whole_heads<false, 1>(shape, n, out, product);
  if (shape.per_head == 2) return sum_whole_heads<false, 2>(shape, n, out, product);
  if (shape.per_head == 4) return sum_whole_heads<false, 4>(shape, n, out, product);
  return sum_whole_heads<false, 0>(shape, n, out, product);
}


// How the numbers of one column are reached.
template <bool Partly, bool Packed, class T>
struct ColumnAccess {
  static constexpr int W = kWidest<T>;
  using V = Vector<T, W>;
  int64_t offset, head;
  int lanes;
  Ints<V> heads_of_lanes;

  LCAT_INLINE V load(const T* row) const {
    if constexpr (Partly) return Partial<W, T>::load(row + offset, lanes);
    return lcat::load<W>(row + offset);
  }
  LCAT_INLINE void store(T* row, V v) const {
    if constexpr (Partly) return Partial<W, T>::store(row + offset, v, lanes);
    lcat::store(row + offset, v);
  }
  // The coefficients of one edge or segment, each in the lanes of its head.
  LCAT_INLINE V spread(const T* coefficients) const {
    const T* p = coefficients + head;
#if defined(__AVX512F__)
    if constexpr (Packed && sizeof(T) == 4) {
      return (V)_mm512_permutexvar_ps((__m512i)heads_of_lanes, _mm512_castps128_ps512(_mm_loadu_ps((const float*)p)));
    } else if constexpr (Packed) {
      return (V)_mm512_permutexvar_pd((__m512i)heads_of_lanes,
                                      _mm512_castpd256_pd512(_mm256_loadu_pd((const double*)p)));
    }
#endif
    return splat<W>(*p);
  }
};

template <int NC, bool Partly, bool Packed, class T, class Begin, class Add, class End>
LCAT_INLINE void sum_columns(const RowShape<T>& shape, const Segments& segments, const T* coefficients, int first,
                             const Begin& begin, const Add& add, const End& end) {
  constexpr int U = NC >= 4 ? 1 : NC == 2 ? 2 : 4;  // edges at a time: sums that do not wait for each other
  using V = Vector<T, kWidest<T>>;
  const int64_t stride = shape.stride;
  ColumnAccess<Partly, Packed, T> column[NC];
  for (int c = 0; c < NC; ++c) {
    const auto& from = shape.column[first + c];
    column[c] = {from.offset, from.head, from.lanes, shape.heads_of_lanes()};
  }
  for (int s = 0; s < segments.count; ++s) {
    V sums[NC][U] = {}, own[NC];
#pragma GCC unroll 4
    for (int c = 0; c < NC; ++c) own[c] = begin(s, column[c]);
    const auto add_edge = [&](int b, int u) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int c = 0; c < NC; ++c) {
        sums[c][u] = add(sums[c][u], column[c].spread(coefficients + b * stride), own[c], b, column[c]);
      }
    };
    int b = segments.begin[s];
    const int last = segments.begin[s + 1];
    for (; b + U <= last; b += U) {
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) add_edge(b + u, u);
    }
    if constexpr (U > 1) {
      for (; b < last; ++b) add_edge(b, 0);
    }
#pragma GCC unroll 4
    for (int c = 0; c < NC; ++c) {
      V sum = sums[c][0];
      if constexpr (U == 2) sum += sums[c][1];
      if constexpr (U == 4) sum = (sum + sums[c][1]) + (sums[c][2] + sums[c][3]);
      end(s, column[c], sum);
    }
  }
}

template <bool Partly, bool Packed, class T, class... Visit>
LCAT_INLINE void sum_all_columns(const RowShape<T>& shape, const Segments& segments, const T* coefficients,
                                 const Visit&... visit) {
  int c = 0;
  for (; c + 4 <= shape.columns; c += 4) sum_columns<4, Partly, Packed>(shape, segments, coefficients, c, visit...);
  if (c + 2 <= shape.columns) {
    sum_columns<2, Partly, Packed>(shape, segments, coefficients, c, visit...);
    c += 2;
  }
  if (c < shape.columns) sum_columns<1, Partly, Packed>(shape, segments, coefficients, c, visit...);
}

// Sums over the edges of each segment, column by column, as `visit` makes them:
//     V begin(segment, column)                             what is the same for all edges of the segment
//     V add(V sum, V coefficient, V own, edge, column)     own: from begin
//     void end(segment, column, V sum)
template <class T, class... Visit>
void sum_segments(const RowShape<T>& shape, const Segments& segments, const T* coefficients, const Visit&... visit) {
#if defined(__AVX512F__)
  if (shape.packed) return sum_all_columns<false, true>(shape, segments, coefficients, visit...);
#endif
  if (shape.ragged) return sum_all_columns<true, false>(shape, segments, coefficients, visit...);
  sum_all_columns<false, false>(shape, segments, coefficients, visit...);
}

// body(at, c) for each vector of the coefficients of n edges; c: where the same heads lie in one edge's coefficients that
// are repeated to fill a vector.
template <class T, class Body>
LCAT_INLINE void for_coefficients(const RowShape<T>& shape, int n, const Body& body) {
  constexpr int W = kWidest<T>;
  if (shape.stride <= W) {
    for (int64_t at = 0; at < n * shape.stride; at += W) body(at, 0);
  } else {
    for (int b = 0; b < n; ++b) {
      for (int64_t c = 0; c < shape.stride; c += W) body(b * shape.stride + c, c);
    }
  }
}

// What is read beyond the coefficients of n edges, as a last vector is filled up.
template <class T>
LCAT_INLINE void fill_up(const RowShape<T>& shape, int n, T* coefficients, T value) {
  constexpr int W = kWidest<T>;
  for (int64_t at = n * shape.stride; at % W != 0; ++at) coefficients[at] = value;
}

template <int Step, class V>
LCAT_INLINE V larger_of_halves(V v, int64_t stride) {
  if constexpr (Step >= 1) {
    if (stride > Step) return v;
    v = larger(v, shuffle_by(v, v, [](int i) constexpr { return i ^ Step; }));
    return larger_of_halves<Step / 2>(v, stride);
  }
  return v;
}

// to[h] = the largest coefficient of head h, repeated to fill a vector; numbers that are none do not count.
template <class T>
LCAT_INLINE void largest_of_heads(const RowShape<T>& shape, int n, const T* coefficients, T* to) {
  constexpr int W = kWidest<T>;
  const int64_t stride = shape.stride, step = std::max<int64_t>(stride, W);
  for (int64_t c = 0; c < step; c += W) {
    auto largest = splat<W>(std::numeric_limits<T>::lowest());
    for (int64_t at = c; at < n * stride; at += step) largest = larger(load<W>(coefficients + at), largest);
    store(to + c, larger_of_halves<W / 2>(largest, stride));
  }
}

template <int Stride, class T>
LCAT_INLINE void total_segments(const Segments& segments, const T* coefficients, T* totals) {
  for (int s = 0; s < segments.count; ++s) {
    const int end = segments.begin[s + 1];
    int b = segments.begin[s];
    if constexpr (Stride == 1) {
      T sums[4] = {};
      for (; b + 4 <= end; b += 4) {
        for (int u = 0; u < 4; ++u) sums[u] += coefficients[b + u];
      }
      for (; b < end; ++b) sums[0] += coefficients[b];
      totals[s] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    } else if constexpr (Stride == 2) {
      T first = 0, second = 0;
      for (; b < end; ++b) first += coefficients[b * 2], second += coefficients[b * 2 + 1];
      totals[s * 2] = first, totals[s * 2 + 1] = second;
    } else {
      Vector<T, Stride> sum{};
      for (; b < end; ++b) sum += load<Stride>(coefficients + b * Stride);
      store(totals + s * Stride, sum);
    }
  }
}

// totals[at(s, h)] = the sum of the coefficients of head h over the edges of segment s.
template <class T>
LCAT_INLINE void total_segments(const RowShape<T>& shape, const Segments& segments, const T* coefficients, T* totals) {
  constexpr int W = kWidest<T>;
  const int64_t stride = shape.stride;
  if (stride == 1) return total_segments<1>(segments, coefficients, totals);
  if (stride == 2) return total_segments<2>(segments, coefficients, totals);
  if (stride == 4) return total_segments<4>(segments, coefficients, totals);
  if constexpr (W >= 8) {
    if (stride == 8) return total_segments<8>(segments, coefficients, totals);
  }
  for (int s = 0; s < segments.count; ++s) {
    for (int64_t c = 0; c < stride; c += W) {
      Vector<T, W> sum{};
      for (int b = segments.begin[s]; b < segments.begin[s + 1]; ++b) sum += load<W>(coefficients + b * stride + c);
      store(totals + s * stride + c, sum);
    }
  }
}

// The factors of coefficients after the softmax: dropout times edge weight.
template <class T>
class EdgeFactors {
 public:
  EdgeFactors(const RowShape<T>& shape, const Dropout& dropout, const T* edge_weight)
      : shape_(shape), dropout_(dropout), edge_weight_(edge_weight) {
    if (!*this) return;
    constexpr int kQuads = kMaxEdges / 4;
    factors_ = scratch<T>(shape.room(kMaxEdges));
    drawn_ = scratch<T>(factors_for(kQuads, shape.heads));
    counters_ = scratch<uint64_t>(counters_for(kQuads, shape.heads));
  }

  explicit operator bool() const { return dropout_.active || edge_weight_; }

  // Those of n edges, at(b, h).
  const T* of(const int32_t* edge_ids, int n) const {
    const int64_t heads = shape_.heads, stride = shape_.stride;
    T* out = factors_.get();
    if (dropout_.active) {
      uint64_t ids[kMaxEdges];
      for (int b = 0; b < whole_quads(n) * 4; ++b) ids[b] = uint32_t(edge_ids[std::min(b, n - 1)]);
      draw_factors(dropout_, ids, whole_quads(n), heads, counters_.get(), drawn_.get());
      if (heads == 1) {
        std::copy_n(drawn_.get(), n, out);
      } else {
        for (int b = 0; b < n; b += 4) put_quad(drawn_.get() + b * heads, out + b * stride);
      }
    } else {
      std::fill_n(out, n * stride, T(1));
    }
    if (edge_weight_ == nullptr) return out;
    for (int b = 0; b < n; ++b) {
      for (int64_t h = 0; h < heads; ++h) out[b * stride + h] *= edge_weight_[edge_ids[b]];
    }
    return out;
  }

 private:
  // From quad order.
  void put_quad(const T* from, T* to) const {
    const int64_t heads = shape_.heads, stride = shape_.stride;
    int64_t h = 0;
    for (; h + 4 <= heads; h += 4, from += 16) {
      Vector<T, 4> x0 = load<4>(from), x1 = load<4>(from + 4), x2 = load<4>(from + 8), x3 = load<4>(from + 12);
      transpose(x0, x1, x2, x3);
      store(to + h, x0);
      store(to + stride + h, x1);
      store(to + 2 * stride + h, x2);
      store(to + 3 * stride + h, x3);
    }
    for (; h < heads; ++h, from += 4) {
      for (int i = 0; i < 4; ++i) to[i * stride + h] = from[i];
    }
  }

  const RowShape<T>& shape_;
  const Dropout& dropout_;
  const T* edge_weight_;
  Memory<T> factors_, drawn_;
  Memory<uint64_t> counters_;
};

}  // namespace lcat
