// A number that changes with any one of the bytes that it is computed from: how a graph view notices that its edges have
// been written to. All of them are read, at about the speed of memory.
//
// Words of 8 bytes go to kLanes sums in turn. Every step is a bijection of the word that it takes, and
// of the value before it, so that a change of a single word always changes the result. Other changes keep it with
// probability 2^-64 or so: nothing that happens by accident.
#include <cstdint>
#include <cstring>

#include "export.h"
#include "work.h"

namespace lcat {
namespace {

constexpr int kLanes = 32;
constexpr int64_t kPiece = 1 << 16;  // bytes that one thread reads at a time; a multiple of 8 * kLanes
constexpr int64_t kAlone = 1 << 20;  // bytes, below which other threads are not worth waking
constexpr uint64_t kFactor = 0x9E3779B97F4A7C15u, kOther = 0xD1B54A32D192ED03u;

// A bijection of `sum` for each `next`, and of `next` for each `sum`.
uint64_t joined(uint64_t sum, uint64_t next) {
  sum = (sum ^ (sum >> 32)) * kOther;
  return (sum ^ (sum >> 29)) * kFactor + next;
}

uint64_t of_piece(const unsigned char* data, int64_t bytes) {
  uint64_t lanes[kLanes] = {};
  int64_t at = 0;
  for (; at + 8 * kLanes <= bytes; at += 8 * kLanes) {
    uint64_t words[kLanes];
    std::memcpy(words, data + at, sizeof(words));
    for (int lane = 0; lane < kLanes; ++lane) {  // the shift brings differences of high bits back to low ones
      lanes[lane] = (lanes[lane] ^ (lanes[lane] >> 32)) * kFactor + words[lane];
    }
  }
  uint64_t sum = uint64_t(bytes);
  for (; at < bytes; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + at, size_t(bytes - at < 8 ? bytes - at : 8));
    sum = joined(sum, word);
  }
  for (int lane = 0; lane < kLanes; ++lane) sum = joined(sum, lanes[lane]);
  return joined(sum, 0);
}

}  // namespace
}  // namespace lcat

// Of `rows` rows of `bytes` bytes each, `stride` bytes apart. The same for any number of threads.
LCAT_EXPORT uint64_t lcat_checksum(const unsigned char* data, int64_t rows, int64_t bytes, int64_t stride, int threads) {
  using lcat::kPiece;
  const int64_t pieces = (bytes + kPiece - 1) / kPiece;  // of a row
  const auto of_range = [&](lcat::Range range, uint64_t sum) {
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t begin = i % pieces * kPiece, rest = bytes - begin;
      sum = lcat::joined(sum, lcat::of_piece(data + i / pieces * stride + begin, rest < kPiece ? rest : kPiece));
    }
    return sum;
  };
  if (rows * bytes < lcat::kAlone) return of_range({0, rows * pieces}, uint64_t(rows));
  uint64_t sums[lcat::kChunks];
  lcat::for_chunks(threads, [&](int chunk) {
    sums[chunk] = of_range(lcat::part_of_chunk(rows * pieces, chunk), 0);
  });
  uint64_t sum = uint64_t(rows);
  for (const uint64_t of_chunk : sums) sum = lcat::joined(sum, of_chunk);
  return sum;
}
