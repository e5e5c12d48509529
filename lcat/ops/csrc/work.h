// A fixed list of work, done by any number of threads.
//
// Rows are cut into kChunks contiguous chunks of about equal cost. The cut depends on the graph only, and every
// sum is made inside one chunk (or over chunks, in their order, afterwards): results have the same bits for
// any number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace lcat {

constexpr int kChunks = 128;

struct Range {
  int64_t begin, end;
};

// Rows of chunk `chunk`; a row costs one unit plus one for each of its slots.
inline Range rows_of_chunk(const int64_t* indptr, int64_t rows, int chunk) {
  const auto cut = [&](int c) {
    if (c == 0) return int64_t(0);  // also where indptr does not rise: no row may be left out
    if (c == kChunks) return rows;
    const double goal = (double(indptr[rows] - indptr[0]) + double(rows)) * c / kChunks;
    int64_t low = 0, high = rows;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (double(indptr[middle] - indptr[0]) + double(middle) < goal) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  };
  return {cut(chunk), cut(chunk + 1)};
}

// The part of [0, total) that belongs to `chunk`, for work that costs the same everywhere.
inline Range part_of_chunk(int64_t total, int chunk) {
  return {total * chunk / kChunks, total * (chunk + 1) / kChunks};
}

// Calls run(context, chunk) once for each chunk, on the caller's thread and up to threads - 1 others, and
// returns when all are done: 0, or 1 if memory ran out in any of them.
int run_chunks(int threads, void (*run)(void* context, int chunk), void* context);

template <class Body>
int for_chunks(int threads, Body&& body) {
  using Function = std::remove_reference_t<Body>;
  return run_chunks(threads, [](void* context, int chunk) { (*static_cast<Function*>(context))(chunk); }, &body);
}

}  // namespace lcat
