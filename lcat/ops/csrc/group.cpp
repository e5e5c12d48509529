// Edges grouped by one endpoint, ordered inside a group by the other, equal edges by their position, so that a graph
// view costs less than a pass of attention: two counting sorts for edges in no order, one pass for edges that are
// sorted already, one for the transpose of a grouping, one to add a self-loop to each group, one to take over groups
// that somebody else has made. Whatever comes from outside is checked here, before it becomes an address.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "block.h"
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
LCAT_EXPORT int64_t lcat_interface() { return 10; }

// Keys of `row` must be in [0, rows), of `other` in [0, others). See Status for what comes back.
LCAT_EXPORT int lcat_group_edges(const int64_t* row, const int64_t* other, int64_t count, int64_t rows, int64_t others,
                                 int64_t* indptr, int32_t* indices, int32_t* edge_ids) {
  if (lcat::any_outside(row, count, rows) || lcat::any_outside(other, count, others)) return lcat::kMisfit;
  try {
    lcat::count_below(row, count, rows, indptr);
    if (std::is_sorted(row, row + count)) {
      lcat::sort_rows(other, rows, indptr, indices, edge_ids);
      return lcat::kDone;
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
    return lcat::kNoMemory;
  }
  return lcat::kDone;
}

// The groups of edges by `row` that are stated by `pointer` and `order` (null for 0, 1, 2, ...), in their order inside
// each group. They do not fit unless they hold each of these edges once.
LCAT_EXPORT int lcat_take_groups(const int64_t* row, const int64_t* other, int64_t count, int64_t rows, int64_t others,
                                 const int64_t* pointer, const int64_t* order, int64_t* indptr, int32_t* indices,
                                 int32_t* edge_ids) {
  if (pointer[0] != 0 || pointer[rows] != count) return lcat::kMisfit;
  for (int64_t r = 0; r < rows; ++r) {
    if (pointer[r + 1] < pointer[r]) return lcat::kMisfit;
  }
  if (lcat::any_outside(other, count, others)) return lcat::kMisfit;
  if (order != nullptr && lcat::any_outside(order, count, count)) return lcat::kMisfit;
  try {
    std::vector<bool> seen(size_t(order == nullptr ? 0 : count));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t slot = pointer[r]; slot < pointer[r + 1]; ++slot) {
        const int64_t e = order == nullptr ? slot : order[slot];
        if (row[e] != r || (order != nullptr && seen[size_t(e)])) return lcat::kMisfit;
        if (order != nullptr) seen[size_t(e)] = true;
        indices[slot] = int32_t(other[e]);
        edge_ids[slot] = int32_t(e);
      }
    }
  } catch (const std::bad_alloc&) {
    return lcat::kNoMemory;
  }
  std::copy_n(pointer, rows + 1, indptr);
  return lcat::kDone;
}

// 64-bit indices as 32-bit ones; -1, which is outside every range, for those that do not fit.
LCAT_EXPORT int lcat_narrow(const int64_t* from, int64_t count, int32_t* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = uint64_t(from[i]) > uint64_t(INT32_MAX) ? -1 : int32_t(from[i]);
  return lcat::kDone;
}

// The same edges grouped by the other endpoint: slots that are read in the order of rows keep it inside each new group.
// Slots from indptr[rows] on are dead and stay last, with `rows` for their other endpoint.
LCAT_EXPORT int lcat_transpose_groups(const int64_t* indptr, const int32_t* indices, const int32_t* edge_ids,
                                      int64_t count, int64_t others, int64_t per_edge, int64_t rows, int64_t to_rows,
                                      int64_t* to_indptr, int32_t* to_indices, int32_t* to_edge_ids) {
  const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};
  if (to_rows != others || !edges.fit({0, rows})) return lcat::kMisfit;
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
    return lcat::kNoMemory;
  }
  return lcat::kDone;
}

// The grouping of edges without self-loops, and one loop more, edge count + r, in each row r < loops.
LCAT_EXPORT int lcat_insert_loops(const int64_t* indptr, const int32_t* indices, const int32_t* edge_ids, int64_t count,
                                  int64_t others, int64_t per_edge, int64_t rows, int64_t loops, int64_t* to_indptr,
                                  int32_t* to_indices, int32_t* to_edge_ids) {
  const lcat::SortedEdges edges{indptr, indices, edge_ids, rows, count, others, per_edge};
  if (loops > rows || indptr[rows] != count || !edges.fit({0, rows})) return lcat::kMisfit;
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
  return lcat::kDone;
}
