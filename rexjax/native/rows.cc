// Rows of a large array by their numbers, read or written: rexjax.embedding.table on CPUs.
//
// Nearly every row is a cache miss. XLA copies one row after another and waits for each; here the lines of the rows
// ahead are asked for first, on all threads of the pool. Rows are bytes: their type does not matter.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kLine = 64;    // bytes of a cache line
constexpr int64_t kAhead = 16;   // rows that are asked for ahead
constexpr int64_t kPart = 256;   // rows that a thread takes at a time

int64_t row_bytes(const ffi::AnyBuffer& buffer) {
  const int64_t rows = buffer.dimensions()[0];
  return rows ? static_cast<int64_t>(buffer.size_bytes()) / rows : 0;
}

// Calls move(place, row) for each of rows[begin, end) below `count`, after the row's lines were asked for.
template <bool write, typename Move>
void for_rows(char* data, int64_t bytes, const int32_t* rows, int64_t count, int64_t begin, int64_t end, Move move) {
  for (int64_t at = begin - kAhead; at < end; ++at) {
    const int64_t next = at + kAhead;
    if (next < end && rows[next] < count)
      for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(data + rows[next] * bytes + byte, write);
    if (at >= begin) move(at, rows[at]);
  }
}

ffi::Error take_rows(ffi::ThreadPool pool, ffi::AnyBuffer array, ffi::Buffer<ffi::S32> rows,
                     ffi::Result<ffi::AnyBuffer> found) {
  const int64_t bytes = row_bytes(array), count = array.dimensions()[0];
  char* data = static_cast<char*>(array.untyped_data());
  char* out = static_cast<char*>(found->untyped_data());
  const int32_t* numbers = rows.typed_data();
  in_parallel(pool, rows.element_count(), kPart, [=](int64_t begin, int64_t end) {
    for_rows<false>(data, bytes, numbers, count, begin, end, [=](int64_t place, int64_t row) {
      if (row >= 0 && row < count) std::memcpy(out + place * bytes, data + row * bytes, bytes);
      else std::memset(out + place * bytes, 0, bytes);
    });
  });
  return ffi::Error::Success();
}

// In place: `array` and `changed` are one buffer.
ffi::Error put_rows(ffi::ThreadPool pool, ffi::AnyBuffer array, ffi::Buffer<ffi::S32> rows, ffi::AnyBuffer values,
                    ffi::Result<ffi::AnyBuffer> changed) {
  const int64_t bytes = row_bytes(array), count = array.dimensions()[0];
  if (array.untyped_data() != changed->untyped_data()) return ffi::Error::Internal("the array was not aliased");
  char* data = static_cast<char*>(changed->untyped_data());
  const char* from = static_cast<const char*>(values.untyped_data());
  const int32_t* numbers = rows.typed_data();
  in_parallel(pool, rows.element_count(), kPart, [=](int64_t begin, int64_t end) {
    for_rows<true>(data, bytes, numbers, count, begin, end, [=](int64_t place, int64_t row) {
      if (row >= 0 && row < count) std::memcpy(data + row * bytes, from + place * bytes, bytes);
    });
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(rexjax_take_rows, take_rows,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()         // array [R, ...]
                                  .Arg<ffi::Buffer<ffi::S32>>()  // rows [Q]
                                  .Ret<ffi::AnyBuffer>());       // [Q, ...], zeros for rows beyond R

XLA_FFI_DEFINE_HANDLER_SYMBOL(rexjax_put_rows, put_rows,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()         // array [R, ...]
                                  .Arg<ffi::Buffer<ffi::S32>>()  // rows [Q], distinct but for those beyond R
                                  .Arg<ffi::AnyBuffer>()         // values [Q, ...]
                                  .Ret<ffi::AnyBuffer>());       // the array, changed
