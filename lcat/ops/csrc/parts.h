// Edges in parts of about equal cost. A part begins and ends between rows, but inside a row that is long: what parts have
// of such a row ("pieces") is joined in their order when all are done. Where the cuts are depends on the graph and the
// shape of its tensors only.
#pragma once

#include <vector>

#include "block.h"

namespace lcat {

constexpr int64_t kLongRow = 1024;  // slots of a row that may be cut, at multiples of kMaxEdges

// Rows whose slots from `begin` to `end` belong to one part; only the first and the last of them may be in others too.
struct Part {
  Range rows;
  int64_t begin, end;
};

class Parts {
 public:
  Parts(const SortedEdges& edges, int count) : edges_(edges), count_(count) {
    const int64_t* indptr = edges.indptr;
    cuts_[0] = {0, indptr[0]};
    for (int c = 1; c < count; ++c) {
      cuts_[c] = {rows_of_chunk(indptr, edges.rows, c, count).begin, 0};
      cuts_[c].slot = indptr[cuts_[c].row];
      if (cuts_[c].row == 0) continue;
      const int64_t row = cuts_[c].row - 1, begin = indptr[row], slots = indptr[row + 1] - begin;
      if (slots < kLongRow) continue;
      const double goal = (double(edges.slots() - indptr[0]) + double(edges.rows)) * c / count;
      const double within = goal - double(begin - indptr[0]) - double(row);
      const int64_t offset = int64_t(std::clamp(within, 0.0, double(slots))) / kMaxEdges * kMaxEdges;
      if (offset <= 0) {
        cuts_[c] = {row, begin};
      } else if (offset < slots) {
        cuts_[c] = {row, begin + offset};
        cut_ = true;
      }
    }
    cuts_[count] = {edges.rows, edges.slots()};
  }

  int count() const { return count_; }
  bool any_row_is_cut() const { return cut_; }

  Part operator[](int c) const {
    const Cut &from = cuts_[c], &to = cuts_[c + 1];
    return {{from.row, to.row + (begins_inside_row(c + 1) ? 1 : 0)}, from.slot, to.slot};
  }

  bool begins_inside_row(int c) const {
    return cuts_[c].row < edges_.rows && cuts_[c].slot > edges_.indptr[cuts_[c].row];
  }

  // Between two cuts at one place inside a row.
  bool is_nothing(int c) const { return begins_inside_row(c) && cuts_[c].slot == cuts_[c + 1].slot; }

  // Whether what a part says becomes an address inside its table, see SortedEdges.
  bool fit(const Part& part) const {
    return edges_.fit(part.rows, part.begin, part.end);
  }

 private:
  struct Cut {
    int64_t row, slot;
  };
  const SortedEdges& edges_;
  int count_;
  bool cut_ = false;
  Cut cuts_[kChunks + 1];
};

// Where a part leaves what it has of rows that are cut: of its first row, if that began in an earlier part, and of its
// last one, if that ends in a later part. Null where the row is whole.
template <class T>
struct Pieces {
  T *first = nullptr, *last = nullptr;
};

// Runs kernel.run(part, index, pieces) for all parts, then kernel.join(row, pieces of the row, index of the first part)
// for each row that was cut; a piece is kernel.piece_size() numbers. Parts whose edges do not fit are not run.
template <class T, class Kernel>
int launch_parts(const Kernel& kernel, int threads, int passes) {
  const SortedEdges& edges = kernel.edges;
  const double cost = cost_of_edges(edges, kernel.row_width(), passes);
  const Parts parts(edges, chunks_for(cost));
  const int64_t size = parts.any_row_is_cut() ? kernel.piece_size() : 0;
  const auto memory = scratch<T>(size * parts.count() * 2);
  const auto pieces_of = [&](int c) {
    Pieces<T> pieces;
    if (size == 0 || parts.is_nothing(c)) return pieces;
    T* first = memory.get() + size * c * 2;
    if (parts.begins_inside_row(c)) pieces.first = first;
    if (parts.begins_inside_row(c + 1)) {  // one piece, if the part has nothing but slots of one row
      pieces.last = pieces.first && parts[c].rows.end - parts[c].rows.begin == 1 ? first : first + size;
    }
    return pieces;
  };
  std::atomic<bool> misfit{false};
  const int status = for_chunks(threads_for(cost, threads), parts.count(), [&](int c) {
    const Part part = parts[c];
    if (!parts.fit(part)) {
      misfit = true;
    } else if (part.rows.begin < part.rows.end && !parts.is_nothing(c)) {
      kernel.run(part, c, pieces_of(c));
    }
  });
  if (misfit) return kMisfit;
  if (status != kDone || size == 0) return status;
  std::vector<const T*> of_row;
  int first = 0;
  for (int c = 0; c < parts.count(); ++c) {
    const Pieces<T> pieces = pieces_of(c);
    if (pieces.first) of_row.push_back(pieces.first);
    if (pieces.first && pieces.first != pieces.last) {
      kernel.join(parts[c].rows.begin, of_row, first);
      of_row.clear();
    }
    if (pieces.last && pieces.first != pieces.last) {
      of_row.push_back(pieces.last);
      first = c;
    }
  }
  return kDone;
}

}  // namespace lcat
