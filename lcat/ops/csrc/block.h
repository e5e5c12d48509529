// Blocks of edges: what the kernels do with a few gathered rows at a time.
//
// A kernel walks the slots of one node in blocks short enough for the gathered rows to stay in the cache. Inside
// a block, edges are taken four at a time. Numbers with one value per edge and head lie in *quad order*,
//
//     at(b, h) = (b / 4 * heads + h) * 4 + b % 4          (b: edge within the block, h: head)
//
// so that four edges of a head are one vector, and a softmax is plain arithmetic on contiguous memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <new>

#include "functions.h"
#include "simd.h"
#include "work.h"

namespace lcat {

constexpr int kMaxEdges = 64;  // of a block

// Edges grouped by one endpoint, as lcat.graph.SortedEdges: row i owns the slots indptr[i] ... indptr[i + 1] - 1.
struct SortedEdges {
  const int64_t* indptr;
  const int32_t *indices, *edge_ids;
  int64_t rows;
  int64_t count;         // slots in memory, dead ones included
  int64_t others;        // rows of the tables that `indices` point into
  int64_t per_edge;      // rows of the tables that `edge_ids` point into; negative where there is none

  int64_t slots() const { return indptr[rows]; }

  // Whether everything that the rows of a chunk say becomes an address inside its table. Chunks share no row and leave
  // none out, so that together they check all; a chunk reads its slots here shortly before it uses them, from memory
  // into the cache, which is why nobody notices. Without a branch in the loops, so that they are vectorized.
  bool fit(Range range) const {
    return range.begin <= range.end && fit(range, indptr[range.begin], indptr[range.end]);
  }

  // The same where of the first and the last row only the slots from `begin` to `end` are used.
  bool fit(Range range, int64_t begin, int64_t end) const {
    const int64_t last = slots();
    if (range.begin > range.end || last < 0 || last > count || (range.begin == 0 && indptr[0] != 0)) return false;
    bool wrong = indptr[range.begin] < 0 || indptr[range.end] > last;
    for (int64_t i = range.begin; i < range.end; ++i) wrong |= indptr[i + 1] < indptr[i];
    if (wrong || begin < indptr[range.begin] || begin > end || end > indptr[range.end]) return false;
    // The slots below are then in memory.
    return all_below(indices, begin, end, others) && (per_edge < 0 || all_below(edge_ids, begin, end, per_edge));
  }

 private:
  static bool all_below(const int32_t* index, int64_t begin, int64_t end, int64_t bound) {
    const uint32_t limit = uint32_t(std::min<int64_t>(bound, int64_t(1) << 31));  // a negative index is above it
    uint32_t highest = 0;
    for (int64_t slot = begin; slot < end; ++slot) highest = std::max(highest, uint32_t(index[slot]));
    return begin == end || highest < limit;
  }
};

// The cost of visiting all edges, with a row of `width` numbers at each of them that are used `passes` times. What the
// pointer says is checked later: until then it is only bounded.
inline double cost_of_edges(const SortedEdges& edges, int64_t width, int passes) {
  const int64_t slots = std::clamp<int64_t>(edges.slots(), 0, edges.count);
  return (double(edges.rows) + double(slots)) * (double(width) + 16) * passes;
}

LCAT_INLINE int64_t quad_order(int b, int64_t h, int64_t heads) { return (int64_t(b) / 4 * heads + h) * 4 + b % 4; }

inline int whole_quads(int n) { return (n + 3) / 4; }

// Edges in a block of rows of `width` numbers: as many as fit in about 48 KB.
template <class T>
int block_length(int64_t width) {
  const int64_t fitting = 49152 / (int64_t(sizeof(T)) * std::max<int64_t>(width, 1));
  return int(std::min<int64_t>(kMaxEdges, std::max<int64_t>(8, fitting / 8 * 8)));
}

// How one head's F numbers are cut into vectors. Count == 0: as many as F needs, the last one partial if Ragged.
template <class T_, int Lanes_, int Count, bool Ragged>
struct HeadShape {
  using T = T_;
  static constexpr int Lanes = Lanes_, kCount = Count;
  using V = Vector<T, Lanes>;
  int64_t width;

  explicit HeadShape(int64_t width) : width(width) {}

  // body(load, store, offset) for every vector of a head, where load(p) and store(p, v) act on p + offset.
  template <class Body>
  LCAT_INLINE void each(Body&& body) const {
    const auto whole_load = [](const T* p) __attribute__((always_inline)) { return lcat::load<Lanes>(p); };
    const auto whole_store = [](T* p, V v) __attribute__((always_inline)) { lcat::store(p, v); };
    if constexpr (Count > 0) {
#pragma GCC unroll 16
      for (int i = 0; i < Count; ++i) body(whole_load, whole_store, int64_t(i) * Lanes);
    } else {
      const int64_t whole = width / Lanes * Lanes;
      for (int64_t i = 0; i < whole; i += Lanes) body(whole_load, whole_store, i);
      if (Ragged && whole < width) {
        const int rest = int(width - whole);
        body([rest](const T* p) __attribute__((always_inline)) { return Partial<Lanes, T>::load(p, rest); },
             [rest](T* p, V v) __attribute__((always_inline)) { Partial<Lanes, T>::store(p, v, rest); }, whole);
      }
    }
  }
};

// Calls body with the HeadShape for F features: fully unrolled for the common widths of float32.
template <class T, class Body>
void with_head_shape(int64_t width, Body&& body) {
  constexpr int W = kWidest<T>;
  if constexpr (sizeof(T) == 4) {
    switch (width) {
      case 8: return body(HeadShape<T, std::min(W, 8), 8 / std::min(W, 8), false>(width));
      case 16: return body(HeadShape<T, W, 16 / W, false>(width));
      case 32: return body(HeadShape<T, W, 32 / W, false>(width));
      case 64: return body(HeadShape<T, W, 64 / W, false>(width));
      default: break;
    }
  }
  if constexpr (W >= 16) {
    if (width > 8) return body(HeadShape<T, 16, 0, true>(width));
  }
  if constexpr (W >= 8) {
    if (width > 4) return body(HeadShape<T, 8, 0, true>(width));
  }
  return body(HeadShape<T, 4, 0, true>(width));
}

// What the exported functions return.
enum Status { kDone = 0, kNoMemory = 1, kMisfit = 2 };

// Runs kernel.run(shape, chunk, rows of the chunk) for all chunks, with the shape of a head of kernel.width numbers.
// Rows whose edges do not fit are not run. `passes`: how often the numbers of an edge's row are used, about.
template <class T, class Kernel>
int launch(const Kernel& kernel, int threads, int passes = 4) {
  const SortedEdges& edges = kernel.edges;
  const double cost = cost_of_edges(edges, kernel.heads * kernel.width, passes);
  const int chunks = chunks_for(cost);
  int status = kDone;
  std::atomic<bool> misfit{false};
  with_head_shape<T>(kernel.width, [&](auto shape) {
    status = for_chunks(threads_for(cost, threads), chunks, [&](int chunk) {
      const Range range = rows_of_chunk(edges.indptr, edges.rows, chunk, chunks);
      if (!edges.fit(range)) {
        misfit = true;
      } else if (range.begin < range.end) {
        kernel.run(shape, chunk, range);
      }
    });
  });
  return misfit ? int(kMisfit) : status;
}

// The same for kernels that visit nodes and no edges.
template <class T, class Kernel>
int launch_over_nodes(const Kernel& kernel, int threads) {
  const double cost = double(kernel.rows) * double(kernel.heads * kernel.width + 16);
  const int chunks = chunks_for(cost);
  int status = kDone;
  with_head_shape<T>(kernel.width, [&](auto shape) {
    status = for_chunks(threads_for(cost, threads), chunks,
                        [&](int chunk) { kernel.run(shape, part_of_chunk(kernel.rows, chunk, chunks)); });
  });
  return status;
}

// How many slots ahead of their use rows are requested from memory: far enough to cover the latency of memory, near
// enough for them to be still in the cache when their turn comes.
template <class T>
int64_t prefetch_distance(int64_t width) {
  return std::clamp<int64_t>(24576 / (int64_t(sizeof(T)) * std::max<int64_t>(width, 1)), 8, 64);
}

// Rows that will be needed soon. They are requested piece by piece, in step with the work on the current rows: requested
// all at once they would fill the processor's queue of outstanding loads, and the work would wait.
template <class T>
struct Upcoming {
  const T* base;
  int64_t width;  // of a row
  const int32_t* indices;
  int64_t last;  // one past the last slot

  // The rows of slots slot ... slot + 3.
  struct Quad {
    const T* row[4];
    // Numbers begin ... begin + count - 1 of each row.
    LCAT_INLINE void fetch(int64_t begin, int64_t count) const {
      for (int64_t i = begin; i < begin + count; i += 64 / int64_t(sizeof(T))) {
        for (const T* r : row) __builtin_prefetch(r + i, 0, 3);
      }
    }
  };

  LCAT_INLINE Quad quad(int64_t slot) const {
    Quad rows;
    for (int i = 0; i < 4; ++i) rows.row[i] = base + indices[std::min(slot + i, last - 1)] * width;
    return rows;
  }
};

struct NothingToFetch {
  LCAT_INLINE void fetch(int64_t, int64_t) const {}
};

template <class T>
LCAT_INLINE void prefetch_row(const T* row, int64_t width) {
  for (int64_t i = 0; i < width; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(row + i, 0, 3);
}

// Memory of one chunk's worker, at the beginning of a line of the cache: a processor does not hand on to a read what was
// just written across two lines.
struct Release {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t(64)); }
};
template <class T>
using Memory = std::unique_ptr<T[], Release>;

template <class T>
Memory<T> scratch(int64_t count) {
  return Memory<T>(static_cast<T*>(::operator new(size_t(count) * sizeof(T), std::align_val_t(64))));
}

// Pointers to the rows of a block, the last one repeated up to a multiple of four.
template <class T>
struct Rows {
  const T* at[kMaxEdges];

  LCAT_INLINE void gather(const T* base, int64_t width, const int32_t* indices, int n) {
    for (int b = 0; b < n; ++b) at[b] = base + indices[b] * width;
    for (int b = n; b < whole_quads(n) * 4; ++b) at[b] = at[n - 1];
  }
};

// out[at(b, h)] = table[rows[b], h] for all heads of the block's edges.
template <class T>
LCAT_INLINE void gather_heads(const T* const* rows, int n, int64_t heads, T* out) {
  for (int b = 0; b < n; b += 4, out += heads * 4) {
    int64_t h = 0;
    for (; h + 4 <= heads; h += 4) {
      Vector<T, 4> x0 = load<4>(rows[b] + h), x1 = load<4>(rows[b + 1] + h);
      Vector<T, 4> x2 = load<4>(rows[b + 2] + h), x3 = load<4>(rows[b + 3] + h);
      transpose(x0, x1, x2, x3);
      store(out + h * 4, x0);
      store(out + h * 4 + 4, x1);
      store(out + h * 4 + 8, x2);
      store(out + h * 4 + 12, x3);
    }
    for (; h < heads; ++h) {
      store(out + h * 4, Vector<T, 4>{rows[b][h], rows[b + 1][h], rows[b + 2][h], rows[b + 3][h]});
    }
  }
}

// The same from a table, without pointers to its rows where there is one head.
template <class T>
LCAT_INLINE void gather_heads(const T* table, const int32_t* indices, int n, int64_t heads, Rows<T>& rows, T* out) {
  if (heads == 1) {
    int b = 0;
    for (; b + 4 <= n; b += 4) {
      const int32_t* i = indices + b;
      store(out + b, Vector<T, 4>{table[i[0]], table[i[1]], table[i[2]], table[i[3]]});
    }
    if (b < n) {
      const auto at = [&](int i) { return table[indices[std::min(b + i, n - 1)]]; };
      store(out + b, Vector<T, 4>{at(0), at(1), at(2), at(3)});
    }
    return;
  }
  rows.gather(table, heads, indices, n);
  gather_heads(rows.at, n, heads, out);
}

// out[at(b, h)] = <rows[b], own> of each head. Meanwhile the rows of `upcoming` from slot `next` on are requested.
template <class Shape, class T = typename Shape::T>
LCAT_INLINE void dot_rows(const Shape& shape, const T* const* rows, int n, int64_t heads, const T* own,
                          const Upcoming<T>& upcoming, int64_t next, T* out) {
  using V = typename Shape::V;
  for (int b = 0; b < n; b += 4) {
    const T *r0 = rows[b], *r1 = rows[b + 1], *r2 = rows[b + 2], *r3 = rows[b + 3];
    const auto next_rows = upcoming.quad(next + b);
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width, out += 4) {
      next_rows.fetch(base, shape.width);
      V s0{}, s1{}, s2{}, s3{};
      shape.each([&](auto load, auto, int64_t i) __attribute__((always_inline)) {
        const V mine = load(own + base + i);
        s0 += load(r0 + base + i) * mine;
        s1 += load(r1 + base + i) * mine;
        s2 += load(r2 + base + i) * mine;
        s3 += load(r3 + base + i) * mine;
      });
      store(out, sum_each(s0, s1, s2, s3));
    }
  }
}

// <a, b> over one head.
template <class Shape, class T = typename Shape::T>
LCAT_INLINE T dot(const Shape& shape, const T* a, const T* b) {
  using V = typename Shape::V;
  V sum{};
  shape.each([&](auto load, auto, int64_t i) __attribute__((always_inline)) { sum += load(a + i) * load(b + i); });
  return sum_each(sum, V{}, V{}, V{})[0];
}

// into[h] += sum_b weight[at(b, h)] * rows[b][h], for all heads; `into` is overwritten where Overwrite.
template <bool Overwrite, class Shape, class Meanwhile, class T = typename Shape::T>
LCAT_INLINE void add_weighted_rows(const Shape& shape, const T* const* rows, int n, int64_t heads, const T* weight,
                                   T* into, const Meanwhile& meanwhile) {
  using V = typename Shape::V;
  bool fresh = Overwrite;
  int b = 0;
  for (; b + 4 <= n; b += 4, weight += heads * 4) {
    const T *r0 = rows[b], *r1 = rows[b + 1], *r2 = rows[b + 2], *r3 = rows[b + 3];
    const auto next_rows = meanwhile(b);
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width) {
      next_rows.fetch(base, shape.width);
      const T *w = weight + h * 4;
      const V w0 = splat<Shape::Lanes>(w[0]), w1 = splat<Shape::Lanes>(w[1]);
      const V w2 = splat<Shape::Lanes>(w[2]), w3 = splat<Shape::Lanes>(w[3]);
      shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
        const int64_t f = base + i;
        const V sum = (load(r0 + f) * w0 + load(r1 + f) * w1) + (load(r2 + f) * w2 + load(r3 + f) * w3);
        store(into + f, fresh ? sum : load(into + f) + sum);
      });
    }
    fresh = false;
  }
  for (int rest = b; rest < n; ++rest) {
    const auto next_rows = meanwhile(b);
    if (rest == b) next_rows.fetch(0, heads * shape.width);
    for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width) {
      const V w0 = splat<Shape::Lanes>(weight[h * 4 + rest - b]);
      shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
        const V product = load(rows[rest] + base + i) * w0;
        store(into + base + i, fresh ? product : load(into + base + i) + product);
      });
    }
    fresh = false;
  }
}

// The same, with nothing to ask for meanwhile.
template <bool Overwrite, class Shape, class T = typename Shape::T>
LCAT_INLINE void add_weighted_rows(const Shape& shape, const T* const* rows, int n, int64_t heads, const T* weight,
                                   T* into) {
  add_weighted_rows<Overwrite>(shape, rows, n, heads, weight, into, [](int) { return NothingToFetch{}; });
}

// A few heads of a row whose sums fit into registers.
template <int Sums, int Heads, class Shape, class Meanwhile, class T = typename Shape::T>
LCAT_INLINE void sum_heads(const Shape& shape, const T* const* rows, int n, int64_t heads, int64_t h,
                           const T* const* weights, T* const* into, bool fresh, const Meanwhile& meanwhile) {
  using V = typename Shape::V;
  constexpr int L = Shape::Lanes, C = Shape::kCount;
  const int64_t base = h * C * L;
  V sum[Sums][Heads][C];
  for (int s = 0; s < Sums; ++s) {
    for (int k = 0; k < Heads; ++k) {
      for (int i = 0; i < C; ++i) sum[s][k][i] = fresh ? V{} : load<L>(into[s] + base + (k * C + i) * L);
    }
  }
  for (int b = 0; b < n; b += 4) {
    const auto next_rows = meanwhile(b);
    const T* const row[4] = {rows[b] + base, rows[b + 1] + base, rows[b + 2] + base, rows[b + 3] + base};
    const int64_t at = (b / 4 * heads + h) * 4;
    if (b + 4 <= n) {
#pragma GCC unroll 4
      for (int s = 0; s < Sums; ++s) {
#pragma GCC unroll 8
        for (int k = 0; k < Heads; ++k) {
          // Line by line, between the sums: see Upcoming.
          if (s == 0) next_rows.fetch(base + k * C * L, C * L);
          const T* w = weights[s] + at + k * 4;
          const V w0 = splat<L>(w[0]), w1 = splat<L>(w[1]), w2 = splat<L>(w[2]), w3 = splat<L>(w[3]);
#pragma GCC unroll 4
          for (int i = 0; i < C; ++i) {
            const int64_t f = (k * C + i) * L;
            sum[s][k][i] += (load<L>(row[0] + f) * w0 + load<L>(row[1] + f) * w1) +
                            (load<L>(row[2] + f) * w2 + load<L>(row[3] + f) * w3);
          }
        }
      }
    } else {
      next_rows.fetch(base, Heads * C * L);
      for (int e = 0; e < n - b; ++e) {
#pragma GCC unroll 4
        for (int s = 0; s < Sums; ++s) {
#pragma GCC unroll 8
          for (int k = 0; k < Heads; ++k) {
            const V w = splat<L>(weights[s][at + k * 4 + e]);
#pragma GCC unroll 4
            for (int i = 0; i < C; ++i) sum[s][k][i] += load<L>(row[e] + (k * C + i) * L) * w;
          }
        }
      }
    }
  }
  for (int s = 0; s < Sums; ++s) {
    for (int k = 0; k < Heads; ++k) {
      for (int i = 0; i < C; ++i) store(into[s] + base + (k * C + i) * L, sum[s][k][i]);
    }
  }
}

#if defined(__AVX512F__)
// sum_heads for rows of 64 floats in 8 heads: two heads in a register, whose weights are picked from those of four heads
// and four edges.
template <int Sums, class Meanwhile>
LCAT_INLINE void sum_eights(const float* const* rows, int n, const float* const* weights, float* const* into, bool fresh,
                            const Meanwhile& meanwhile) {
  using V = Vector<float, 16>;
  Ints<V> lanes[2][4];  // of the weights of heads 0 and 1, or 2 and 3, of four, for each of four edges
  for (int k = 0; k < 2; ++k) {
    for (int e = 0; e < 4; ++e) {
      for (int i = 0; i < 16; ++i) lanes[k][e][i] = (k * 2 + i / 8) * 4 + e;
    }
  }
  V sum[Sums][4];
  for (int s = 0; s < Sums; ++s) {
    for (int i = 0; i < 4; ++i) sum[s][i] = fresh ? V{} : load<16>(into[s] + i * 16);
  }
  const auto add = [&](int b, int e) __attribute__((always_inline)) {
#pragma GCC unroll 2
    for (int s = 0; s < Sums; ++s) {
      const V low = load<16>(weights[s] + b * 8), high = load<16>(weights[s] + b * 8 + 16);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const V w = _mm512_permutexvar_ps((__m512i)lanes[i % 2][e], i < 2 ? low : high);
        sum[s][i] += load<16>(rows[b + e] + i * 16) * w;
      }
    }
  };
  int b = 0;
  for (; b + 4 <= n; b += 4) {
    const auto next_rows = meanwhile(b);
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      next_rows.fetch(e * 16, 16);
      add(b, e);
    }
  }
  if (b < n) meanwhile(b).fetch(0, 64);
  for (int e = 0; e < n - b; ++e) add(b, e);
  for (int s = 0; s < Sums; ++s) {
    for (int i = 0; i < 4; ++i) store(into[s] + i * 16, sum[s][i]);
  }
}
#endif

// Calls sum_heads for the whole row, where its shape is a common one and all sums fit into registers.
template <int Sums, class Shape, class Meanwhile, class T = typename Shape::T>
LCAT_INLINE bool sum_narrow_rows(const Shape& shape, const T* const* rows, int n, int64_t heads,
                                 const T* const* weights, T* const* into, bool fresh, const Meanwhile& meanwhile) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && Shape::kCount == 1 && Shape::Lanes == 8) {
    if (heads == 8) {
      sum_eights<Sums>(rows, n, weights, into, fresh, meanwhile);
      return true;
    }
  }
#endif
  const auto sum = [&](auto count) __attribute__((always_inline)) {
    constexpr int kHeads = decltype(count)::value, kRegisters = 8;
    constexpr bool fits = Shape::kCount > 0 && Sums * kHeads * Shape::kCount <= kRegisters;
    if constexpr (fits) sum_heads<Sums, kHeads>(shape, rows, n, heads, 0, weights, into, fresh, meanwhile);
    return fits;
  };
  if (heads == 1) return sum(std::integral_constant<int, 1>{});
  if (heads == 2) return sum(std::integral_constant<int, 2>{});
  if (heads == 4) return sum(std::integral_constant<int, 4>{});
  return heads == 8 && sum(std::integral_constant<int, 8>{});
}

// into[h] += sum_b weight[at(b, h)] * rows[b][h], for all heads; `into` is overwritten where `fresh`.
template <class Shape, class Meanwhile, class T = typename Shape::T>
LCAT_INLINE void sum_rows(const Shape& shape, const T* const* rows, int n, int64_t heads, const T* weight, T* into,
                          bool fresh, const Meanwhile& meanwhile) {
  if (sum_narrow_rows<1>(shape, rows, n, heads, &weight, &into, fresh, meanwhile)) return;
  if (fresh) {
    add_weighted_rows<true>(shape, rows, n, heads, weight, into, meanwhile);
  } else {
    add_weighted_rows<false>(shape, rows, n, heads, weight, into, meanwhile);
  }
}

// The same with two weights and two sums.
template <class Shape, class Meanwhile, class T = typename Shape::T>
LCAT_INLINE void sum_rows_twice(const Shape& shape, const T* const* rows, int n, int64_t heads,
                                const T* const (&weights)[2], T* const (&into)[2], bool fresh,
                                const Meanwhile& meanwhile) {
  if (sum_narrow_rows<2>(shape, rows, n, heads, weights, into, fresh, meanwhile)) return;
  sum_rows(shape, rows, n, heads, weights[0], into[0], fresh, meanwhile);
  sum_rows(shape, rows, n, heads, weights[1], into[1], fresh, [](int) { return NothingToFetch{}; });
}

// row[h] *= factor[h * 4] for all heads (the factor of a head is repeated over its group of four).
template <class Shape, class T = typename Shape::T>
LCAT_INLINE void scale_heads(const Shape& shape, int64_t heads, const T* factor, T* row) {
  for (int64_t h = 0, base = 0; h < heads; ++h, base += shape.width) {
    const auto by = splat<Shape::Lanes>(factor[h * 4]);
    shape.each([&](auto load, auto store, int64_t i) __attribute__((always_inline)) {
      store(row + base + i, load(row + base + i) * by);
    });
  }
}

// Calls body with the widest number of lanes that divides `stride`, the 4 * heads numbers of a quad.
template <class T, class Body>
LCAT_INLINE void with_lanes(int64_t stride, Body&& body) {
  constexpr int W = kWidest<T>;
  if (W > 4 && stride % W == 0) {
    body(std::integral_constant<int, W>{});
  } else {
    body(std::integral_constant<int, 4>{});
  }
}

// One or two heads do not fill a register with four edges: then it holds several quads, and a *span*, after which heads
// and edges repeat, is a register instead of a quad. Numbers of a head alone are repeated over a span as over four lanes.
template <class T>
LCAT_INLINE bool holds_quads(int64_t heads) {
  constexpr int W = kWidest<T>;
  return (W > 4 && heads == 1) || (W > 8 && heads == 2);
}

template <class T>
LCAT_INLINE int64_t span_of(int64_t heads) {
  return holds_quads<T>(heads) ? kWidest<T> : heads * 4;
}

// Numbers of n edges and all heads in whole spans.
template <class T>
LCAT_INLINE int64_t whole_spans(int n, int64_t heads) {
  constexpr int64_t W = kWidest<T>;
  const int64_t count = whole_quads(n) * heads * 4;
  return holds_quads<T>(heads) ? (count + W - 1) & -W : count;
}

// The number of the first edge in the last span of n edges.
template <class T>
LCAT_INLINE int last_span(int n, int64_t heads) {
  if (!holds_quads<T>(heads)) return (whole_quads(n) - 1) * 4;
  return int(whole_spans<T>(n, heads) - kWidest<T>) >> (heads - 1);
}

template <int Lanes_, int Stride>
struct SpanLanes {
  static constexpr int value = Lanes_, kStride = Stride;  // kStride < value: a vector holds several quads
};

// Calls body with the widest number of lanes that divides a span.
template <class T, class Body>
LCAT_INLINE void with_span(int64_t heads, Body&& body) {
  constexpr int W = kWidest<T>;
  if constexpr (W > 4) {
    if (heads == 1) return body(SpanLanes<W, 4>{});
  }
  if constexpr (W > 8) {
    if (heads == 2) return body(SpanLanes<W, 8>{});
  }
  if (W > 4 && heads * 4 % W == 0) {
    body(SpanLanes<W, W>{});
  } else {
    body(SpanLanes<4, 4>{});
  }
}

// to[c] = from[h] over a span.
template <class T>
LCAT_INLINE void repeat_over_span(const T* from, int64_t heads, T* to) {
  for (int64_t c = 0, h = 0; c < span_of<T>(heads); c += 4) {
    store(to + c, splat<4>(from[h]));
    if (++h == heads) h = 0;
  }
}

// values[i] = e^values[i], for a count that is a multiple of four.
template <class T>
LCAT_INLINE void exponential_of_block(T* values, int64_t count) {
  constexpr int W = kWidest<T>;
  int64_t i = 0;
  for (; i + W <= count; i += W) store(values + i, exponential(load<W>(values + i)));
  for (; i < count; i += 4) store(values + i, exponential(load<4>(values + i)));
}

// The softmax over a node's edges, taken in blocks: running maximum and sum of each head, repeated over groups
// of four lanes.
template <class T>
struct Softmax {
  int64_t heads;
  Memory<T> memory;
  T *m_i, *l_i, *scale;

  explicit Softmax(int64_t heads) : heads(heads), memory(scratch<T>(heads * 12)) {
    m_i = memory.get();
    l_i = m_i + heads * 4;
    scale = l_i + heads * 4;
  }

  // scores (quad order, n edges) -> exp(score - m_i). When a later block of the same node raises the
  // maximum, what was summed before must be multiplied by `scale`. The maximum is kept finite from below: a block
  // whose scores are all -infinity sums to 0, where -infinity minus itself would be NaN.
  LCAT_INLINE void block(T* scores, int n, bool first) {
    with_lanes<T>(heads * 4, [&](auto lanes) __attribute__((always_inline)) {
      constexpr int L = decltype(lanes)::value;
      const int64_t stride = heads * 4, count = whole_quads(n) * stride;
      for (int64_t at = count - stride; at < count; at += L) {  // the edges that fill up the last four
        store(scores + at, only_before<L>(load<L>(scores + at), (n - 1) % 4 + 1, T(-INFINITY)));
      }
      block_of_lanes<L>(scores, count, first);
    });
  }

  template <int L>
  LCAT_INLINE void block_of_lanes(T* scores, int64_t count, bool first) {
    using V = Vector<T, L>;
    const int64_t stride = heads * 4;
    for (int64_t c = 0; c < stride; c += L) {
      V m_new = splat<L>(std::numeric_limits<T>::lowest());
      for (int64_t at = c; at < count; at += stride) m_new = larger(m_new, load<L>(scores + at));
      m_new = over_quads(m_new, [](V a, V b) { return larger(a, b); });
      if (!first) {
        const V m_old = load<L>(m_i + c);
        m_new = larger(m_new, m_old);
        store(scale + c, exponential(m_old - m_new));
      }
      store(m_i + c, m_new);
      for (int64_t at = c; at < count; at += stride) store(scores + at, load<L>(scores + at) - m_new);
    }
    exponential_of_block(scores, count);
    for (int64_t c = 0; c < stride; c += L) {
      V sum = load<L>(scores + c);
      for (int64_t at = c + stride; at < count; at += stride) sum += load<L>(scores + at);
      sum = over_quads(sum, [](V a, V b) { return a + b; });
      if (!first) sum += load<L>(l_i + c) * load<L>(scale + c);
      store(l_i + c, sum);
    }
  }

  // lse[h] = log sum exp of the scores, and `scale` = 1 / total, which makes the coefficients sum to one. Where all
  // scores of the node are -infinity there is no softmax: the total is 0, and everything NaN.
  LCAT_INLINE void finish(T* lse) {
    for (int64_t h = 0; h < heads; h += 4) {
      const int here = int(std::min<int64_t>(4, heads - h));
      Vector<T, 4> sum = splat<4>(T(1)), m_new{};
      for (int i = 0; i < here; ++i) {
        sum[i] = l_i[(h + i) * 4];
        m_new[i] = sum[i] == 0 ? T(NAN) : m_i[(h + i) * 4];
      }
      Partial<4, T>::store(lse + h, m_new + logarithm(sum), here);
    }
    with_lanes<T>(heads * 4, [&](auto lanes) __attribute__((always_inline)) {
      constexpr int L = decltype(lanes)::value;
      for (int64_t c = 0; c < heads * 4; c += L) store(scale + c, T(1) / load<L>(l_i + c));
    });
  }
};

// scores[at(b, h)] *= factor[h] over a whole block.
template <class T>
LCAT_INLINE void scale_block(T* values, int n, int64_t heads, const T* factor) {
  with_lanes<T>(heads * 4, [&](auto lanes) __attribute__((always_inline)) {
    constexpr int L = decltype(lanes)::value;
    for (int q = 0; q < whole_quads(n); ++q, values += heads * 4) {
      for (int64_t c = 0; c < heads * 4; c += L) store(values + c, load<L>(values + c) * load<L>(factor + c));
    }
  });
}

}  // namespace lcat
