// Edge features of gatv2_attention, projected where they are used: rows[b] + matrix . attr_e, made for a block of
// edges at a time, so that nothing of size [E, H, F] is ever stored.
#pragma once

#include "rows.h"

namespace lcat {

template <class T>
struct EdgeFeatures {
  const T* attr = nullptr;    // [E, count], or null
  const T* matrix = nullptr;  // [count, H * F]: the transposed edge_matrix
  int64_t count = 0;

  explicit operator bool() const { return attr != nullptr; }
};

// The gathered rows of a block, with the projected features added where there are any.
template <class T>
class ShiftedRows {
 public:
  ShiftedRows(const EdgeFeatures<T>& features, int64_t width, int block_size)
      : features_(features), width_(width), memory_(features ? scratch<T>(width * block_size) : nullptr) {}

  const T* const* gather(const T* base, const int32_t* indices, const int32_t* edge_ids, int n) {
    rows_.gather(base, width_, indices, n);
    if (!features_) return rows_.at;
    for (int b = 0; b < n; ++b) rows_.at[b] = shifted(rows_.at[b], edge_ids[b], b);
    for (int b = n; b < whole_quads(n) * 4; ++b) rows_.at[b] = rows_.at[n - 1];
    return rows_.at;
  }

  void shift(EdgeRows<T>& rows, const int32_t* edge_ids, int n) const {
    if (!features_) return;
    for (int b = 0; b < n; ++b) rows.at[b] = shifted(rows[b], edge_ids[b], b);
    rows.repeat_last(n);
  }

 private:
  const T* shifted(const T* row, int64_t edge, int b) const {
    T* to = memory_.get() + b * width_;
    std::copy_n(row, width_, to);
    const T* attr = features_.attr + edge * features_.count;
    for (int64_t d = 0; d < features_.count; ++d) {
      const T a = attr[d], *m = features_.matrix + d * width_;
      for (int64_t f = 0; f < width_; ++f) to[f] += a * m[f];
    }
    return to;
  }

  const EdgeFeatures<T>& features_;
  int64_t width_;
  Memory<T> memory_;
  Rows<T> rows_;
};

// Gradients of the features of one edge and of the matrix, given ds of the edge (one per head, `step` apart).
// `row` is key + query + projection; `matrix_sum` collects ds LeakyReLU' attr, to be multiplied by att later.
template <class T>
void feature_gradients(const EdgeFeatures<T>& features, const T* att, const T* row, const T* own, const T* ds,
                       int64_t step, int64_t heads, int64_t width, T slope, const T* attr, T* d_attr, T* matrix_sum) {
  const int64_t row_width = heads * width;
  for (int64_t d = 0; d < features.count; ++d) {
    const T* m = features.matrix + d * row_width;
    T* to = matrix_sum + d * row_width;
    T sum = 0;
    for (int64_t h = 0; h < heads; ++h) {
      const T pull = ds[h * step], share = pull * attr[d];
      T head_sum = 0;
      for (int64_t f = h * width; f < (h + 1) * width; ++f) {
        const T derivative = row[f] + own[f] > 0 ? T(1) : slope;
        head_sum += derivative * att[f] * m[f];
        to[f] += share * derivative;
      }
      sum += pull * head_sum;
    }
    if (d_attr) d_attr[d] = sum;
  }
}

}  // namespace lcat
