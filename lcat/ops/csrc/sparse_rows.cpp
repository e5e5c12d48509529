// The entries of a matrix of which most are zero, row by row, as a CSR matrix. Both functions read all numbers: the first
// one counts those that are not zero (NaN is not), the second one writes them where the counts say.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "block.h"
#include "export.h"
#include "work.h"

namespace lcat {
namespace {

constexpr int64_t kBlock = 32;  // numbers that are looked at together: most blocks of a bag of words are zero

// The bits of a number without its sign are 0 for 0 and -0 alone.
inline uint32_t magnitude(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits << 1;
}
inline uint64_t magnitude(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits << 1;
}

template <class T>
int64_t count(const T* row, int64_t columns) {
  int64_t entries = 0;
  for (int64_t c = 0; c < columns; ++c) entries += magnitude(row[c]) != 0;
  return entries;
}

// Returns how many entries the row has; `room` of them are written.
template <class T>
int64_t take(const T* row, int64_t columns, int64_t room, int64_t* indices, T* values) {
  int64_t entries = 0;
  const auto look_at = [&](int64_t c) {
    if (magnitude(row[c]) == 0) return;
    if (entries < room) {
      indices[entries] = c;
      values[entries] = row[c];
    }
    ++entries;
  };
  int64_t c = 0;
  for (; c + kBlock <= columns; c += kBlock) {
    decltype(magnitude(T())) any = 0;
    for (int64_t i = 0; i < kBlock; ++i) any |= magnitude(row[c + i]);
    if (any == 0) continue;
    for (int64_t i = 0; i < kBlock; ++i) look_at(c + i);
  }
  for (; c < columns; ++c) look_at(c);
  return entries;
}

template <class T>
int count_rows(const T* x, int64_t* counts, int64_t rows, int64_t columns, int threads) {
  const double cost = double(rows) * double(columns);
  const int chunks = chunks_for(cost);
  return for_chunks(threads_for(cost, threads), chunks, [&](int chunk) {
    const Range range = part_of_chunk(rows, chunk, chunks);
    for (int64_t r = range.begin; r < range.end; ++r) counts[r] = count(x + r * columns, columns);
  });
}

template <class T>
int take_rows(const T* x, const int64_t* indptr, int64_t* indices, T* values, int64_t rows, int64_t columns,
              int threads) {
  const double cost = double(rows) * double(columns);
  const int chunks = chunks_for(cost);
  bool misfits[kChunks] = {};
  const int status = for_chunks(threads_for(cost, threads), chunks, [&](int chunk) {
    const Range range = part_of_chunk(rows, chunk, chunks);
    for (int64_t r = range.begin; r < range.end; ++r) {
      const int64_t begin = indptr[r], room = indptr[r + 1] - begin;
      misfits[chunk] |= take(x + r * columns, columns, room, indices + begin, values + begin) != room;
    }
  });
  if (status != 0) return status;
  return std::any_of(misfits, misfits + chunks, [](bool misfit) { return misfit; }) ? kMisfit : 0;
}

}  // namespace
}  // namespace lcat

// counts[r] = number of entries of row r that are not zero; x is [rows, columns].
LCAT_EXPORT int lcat_count_entries_f32(const float* x, int64_t* counts, int64_t rows, int64_t columns, int threads) {
  return lcat::count_rows(x, counts, rows, columns, threads);
}
LCAT_EXPORT int lcat_count_entries_f64(const double* x, int64_t* counts, int64_t rows, int64_t columns, int threads) {
  return lcat::count_rows(x, counts, rows, columns, threads);
}

// Columns and values of the entries of row r, from place indptr[r] on. A misfit where another thread has written to x
// since its entries were counted.
LCAT_EXPORT int lcat_take_entries_f32(const float* x, const int64_t* indptr, int64_t* indices, float* values,
                                      int64_t rows, int64_t columns, int threads) {
  return lcat::take_rows(x, indptr, indices, values, rows, columns, threads);
}
LCAT_EXPORT int lcat_take_entries_f64(const double* x, const int64_t* indptr, int64_t* indices, double* values,
                                      int64_t rows, int64_t columns, int threads) {
  return lcat::take_rows(x, indptr, indices, values, rows, columns, threads);
}
