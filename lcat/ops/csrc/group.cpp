// Edges grouped by one endpoint, ordered inside a group by the other, equal edges by their position, so that a graph
// view costs less than a pass of attention: two counting sorts for edges in no order, one pass for edges that are
// sorted already, one for the transpose of a grouping, one to add a self-loop to each group.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "export.h"

namespace lcat {
namespace {

// order[indptr[key[e]] ...] = e for e in `before`'s order (0, 1, 2, ... where it is null); stable.
void sort_by_key(const int64_t* key, const int32_t* before, int64_t count, int64_t* cursor, int32_t* order) {
  constexpr int64_t kAhead = 16;
  for (int64_t i = 0; i < count; ++i) {
    if (before != nullptr && i + kAhead < count) __builtin_prefetch(key + before[i + kAhead]);
    const int32_t e = before == nullptr ? int32_t(i) : before[i];
    order[cursor[key[e]]++] = e;
  }
}

// Whether any key is outside [0, keys): without a branch in the loop, so that it costs next to nothing.
bool any_outside(const int64_t* key, int64_t count, int64_t keys) {
  bool any = false;
  for (int64_t e = 0; e < count; ++e) any |= uint64_t(key[e]) >= uint64_t(keys);
  return any;
}

// cursor[r] = number of edges with a key below r.
template <class Key>
void count_below(const Key* key, int64_t count, int64_t keys, int64_t* cursor) {
  for (int64_t r = 0; r <= keys; ++r) cursor[r] = 0;
  for (int64_t e = 0; e < count; ++e) ++cursor[key[e] + 1];
  for (int64_t r = 0; r < keys; ++r) cursor[r + 1] += cursor[r];
}

// Rows that follow each other in memory are put in order one by one, most of them short.
void sort_rows(const int64_t* other, int64_t rows, const int64_t* indptr, int32_t* indices, int32_t* edge_ids) {
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = indptr[row], end = indptr[row + 1];
    for (int64_t i = begin; i < end; ++i) edge_ids[i] = int32_t(i);
    if (!std::is_sorted(other + begin, other + end)) {
      std::sort(edge_ids + begin, edge_ids + end,
                [other](int32_t a, int32_t b) { return other[a] < other[b] || (other[a] == other[b] && a < b); });
    }
    for (int64_t i = begin; i < end; ++i) indices[i] = int32_t(other[edge_ids[i]]);
  }
}

}  // namespace
}  // namespace lcat

// Raised whenever the arguments of an exported function change, with _INTERFACE in _native.py: a library left from an
// older build is then refused, instead of taking arguments for others.
LCAT_EXPORT int64_t lcat_interface() { return 3; }

// Keys of `row` must be in [0, rows), of `other` in [0, others). Returns 2 if one is not, 1 if memory runs out, else 0.
LCAT_EXPORT int lcat_group_edges(const int64_t* row, const int64_t* other, int64_t count, int64_t rows, int64_t others,
                                 int64_t* indptr, int32_t* indices, int32_t* edge_ids) {
  if (lcat::any_outside(row, count, rows) || lcat::any_outside(other, count, others)) return 2;
  try {
    lcat::count_below(row, count, rows, indptr);
    if (std::is_sorted(row, row + count)) {
      lcat::sort_rows(other, rows, indptr, indices, edge_ids);
      return 0;
    }
    const std::unique_ptr<int64_t[]> cursor(new int64_t[size_t((rows > others ? rows : others) + 1)]);
    std::unique_ptr<int32_t[]> by_other;  // stays empty where the edges are in this order as they are
    if (!std::is_sorted(other, other + count)) {
      by_other.reset(new int32_t[size_t(count)]);
      lcat::count_below(other, count, others, cursor.get());
      lcat::sort_by_key(other, nullptr, count, cursor.get(), by_other.get());
    }
    std::copy_n(indptr, rows, cursor.get());
    lcat::sort_by_key(row, by_other.get(), count, cursor.get(), edge_ids);
    for (int64_t i = 0; i < count; ++i) indices[i] = int32_t(other[edge_ids[i]]);
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}

// The same edges grouped by the other endpoint: slots that are read in the order of rows keep it inside each new group.
// Slots from indptr[rows] on are dead and stay last, with `rows` for their other endpoint.
LCAT_EXPORT int lcat_transpose_groups(const int64_t* indptr, const int32_t* indices, const int32_t* edge_ids,
                                      int64_t count, int64_t rows, int64_t others, int64_t* to_indptr,
                                      int32_t* to_indices, int32_t* to_edge_ids) {
  try {
    const int64_t num_live = indptr[rows];
    const std::unique_ptr<int64_t[]> cursor(new int64_t[size_t(others + 1)]);
    lcat::count_below(indices, num_live, others, to_indptr);
    std::copy_n(to_indptr, others, cursor.get());
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t slot = indptr[row]; slot < indptr[row + 1]; ++slot) {
        const int64_t to = cursor[indices[slot]]++;
        to_indices[to] = int32_t(row);
        to_edge_ids[to] = edge_ids[slot];
      }
    }
    for (int64_t slot = num_live; slot < count; ++slot) {
      to_indices[slot] = int32_t(rows);
      to_edge_ids[slot] = edge_ids[slot];
    }
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}

// The grouping of `count` edges without self-loops, and one loop more, edge count + r, in each row r < loops.
LCAT_EXPORT int lcat_insert_loops(const int64_t* indptr, const int32_t* indices, const int32_t* edge_ids, int64_t count,
                                  int64_t rows, int64_t loops, int64_t* to_indptr, int32_t* to_indices,
                                  int32_t* to_edge_ids) {
  int64_t to = 0;
  const auto copy = [&](int64_t slot) {
    to_indices[to] = indices[slot];
    to_edge_ids[to++] = edge_ids[slot];
  };
  for (int64_t row = 0; row < rows; ++row) {
    to_indptr[row] = to;
    const int64_t begin = indptr[row], end = indptr[row + 1];
    const int64_t split = row < loops ? std::lower_bound(indices + begin, indices + end, int32_t(row)) - indices : end;
    for (int64_t slot = begin; slot < split; ++slot) copy(slot);
    if (row < loops) to_indices[to] = int32_t(row), to_edge_ids[to++] = int32_t(count + row);
    for (int64_t slot = split; slot < end; ++slot) copy(slot);
  }
  to_indptr[rows] = to;
  return 0;
}
