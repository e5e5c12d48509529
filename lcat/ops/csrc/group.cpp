// Edges grouped by one endpoint, ordered inside a group by the other, equal edges by their position: two counting
// sorts, each a pass to count and a pass to place, so that a graph view costs less than a pass of attention.
#include <cstdint>
#include <memory>
#include <new>

#include "export.h"

namespace lcat {
namespace {

// order[pointer[key[e]] ...] = e for e in `before`'s order (0, 1, 2, ... where it is null); stable.
void place(const int64_t* key, const int32_t* before, int64_t count, int64_t* cursor, int32_t* order) {
  constexpr int64_t kAhead = 16;
  for (int64_t i = 0; i < count; ++i) {
    if (before != nullptr && i + kAhead < count) __builtin_prefetch(key + before[i + kAhead]);
    const int32_t e = before == nullptr ? int32_t(i) : before[i];
    order[cursor[key[e]]++] = e;
  }
}

// cursor[r] = number of edges with a key below r.
void count_below(const int64_t* key, int64_t count, int64_t keys, int64_t* cursor) {
  for (int64_t r = 0; r <= keys; ++r) cursor[r] = 0;
  for (int64_t e = 0; e < count; ++e) ++cursor[key[e] + 1];
  for (int64_t r = 0; r < keys; ++r) cursor[r + 1] += cursor[r];
}

}  // namespace
}  // namespace lcat

// Keys of `row` are in [0, rows), of `other` in [0, others). Returns 1 if memory runs out, else 0.
LCAT_EXPORT int lcat_group_edges(const int64_t* row, const int64_t* other, int64_t count, int64_t rows, int64_t others,
                                 int64_t* pointer, int32_t* grouped_other, int32_t* edge) {
  try {
    const std::unique_ptr<int64_t[]> cursor(new int64_t[size_t((rows > others ? rows : others) + 1)]);
    const std::unique_ptr<int32_t[]> by_other(new int32_t[size_t(count)]);
    lcat::count_below(other, count, others, cursor.get());
    lcat::place(other, nullptr, count, cursor.get(), by_other.get());
    lcat::count_below(row, count, rows, pointer);
    for (int64_t r = 0; r < rows; ++r) cursor[r] = pointer[r];
    lcat::place(row, by_other.get(), count, cursor.get(), edge);
    for (int64_t i = 0; i < count; ++i) grouped_other[i] = int32_t(other[edge[i]]);
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}
