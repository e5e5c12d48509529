// A fixed list of work, done by any number of threads.
//
// Rows are cut into contiguous chunks of about equal cost. The cut depends on the graph and the shape of its tensors
// only, and every sum is made inside one chunk (or over chunks, in their order, afterwards): results have the same bits
// for any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace lcat {

constexpr int kChunks = 128;  // at most

// Costs are counted in numbers read and used once, about a tenth of a nanosecond each. A chunk has buffers to set up, and
// a thread takes tens of microseconds to wake: little work is cut into few chunks, and stays on the caller's thread.
constexpr double kChunkCost = 1 << 15, kThreadCost = 1 << 19;

inline int chunks_for(double cost) { return int(std::clamp(cost / kChunkCost, 1.0, double(kChunks))); }
inline int threads_for(double cost, int threads) {
  return int(std::clamp(cost / kThreadCost, 1.0, double(std::max(threads, 1))));
}

struct Range {
  int64_t begin, end;
};

// Rows of chunk `chunk` of `chunks`; a row costs one unit plus one for each of its slots.
inline Range rows_of_chunk(const int64_t* indptr, int64_t rows, int chunk, int chunks) {
  const auto cut = [&](int c) {
    if (c == 0) return int64_t(0);  // also where indptr does not rise: no row may be left out
    if (c == chunks) return rows;
    const double goal = (double(indptr[rows] - indptr[0]) + double(rows)) * c / chunks;
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
inline Range part_of_chunk(int64_t total, int chunk, int chunks = kChunks) {
  return {total * chunk / chunks, total * (chunk + 1) / chunks};
}

// Calls run(context, chunk) once for each of `chunks` chunks, on the caller's thread and up to threads - 1 others, and
// returns when all are done: 0, or 1 if memory ran out in any of them.
int run_chunks(int threads, int chunks, void (*run)(void* context, int chunk), void* context);

template <class Body>
int for_chunks(int threads, int chunks, Body&& body) {
  using Function = std::remove_reference_t<Body>;
  return run_chunks(
      threads, chunks, [](void* context, int chunk) { (*static_cast<Function*>(context))(chunk); }, &body);
}

template <class Body>
int for_chunks(int threads, Body&& body) {
  return for_chunks(threads, kChunks, body);
}

}  // namespace lcat
