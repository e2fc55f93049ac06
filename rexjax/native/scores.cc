// Scores of item rows, or the best of each block of them, for a few queries: rexjax.retrieval.topk on CPUs.
//
// Rows are read once, as they are kept, and never lie in memory as float32. One source serves every instruction set:
// vectors of 16 lanes are the compiler's own, and it makes a clone of the loops for each level of x86-64. The interface
// is XLA's (https://openxla.org/xla/custom_call).

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define COMMA ,  // inside an argument of a macro
#define INLINE inline __attribute__((always_inline))

namespace {

constexpr int kLanes = 16;
constexpr int64_t kBlocks = 32;  // of 128 rows, that a thread takes at a time

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Unsigned __attribute__((vector_size(4 * kLanes)));

constexpr Words kLane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr float kNone = -std::numeric_limits<float>::infinity();

template <typename Vector>
INLINE Vector load(const void* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

INLINE void store(Floats vector, float* to) { std::memcpy(to, &vector, sizeof(vector)); }

// 16 float16 numbers: their bits, moved, are floats of another exponent, subnormal numbers included.
INLINE Floats load_halves(const uint16_t* from) {
  uint32_t bits[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) bits[lane] = (from[lane] & 0x8000u) << 16 | (from[lane] & 0x7fffu) << 13;
  return load<Floats>(bits) * 0x1p112f;
}

// Sums of `count` vectors (a power of two, at most 16), each over its runs of `count` lanes: lane run * count + i holds
// the sum of that run of vectors[i].
template <int count>
INLINE Floats sums(Floats* vectors) {
#pragma GCC unroll 4
  for (int stride = 1; stride < count; stride *= 2) {
    const Words low = (kLane & ~stride) + (((kLane & stride) != 0) & kLanes);  // lanes of a, then of b
#pragma GCC unroll 8
    for (int i = 0; i < count / (2 * stride); ++i) {
      const Floats a = vectors[2 * i], b = vectors[2 * i + 1];
      vectors[i] = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, low + stride);
    }
  }
  return vectors[0];
}

// Scores of 16 rows of floats.
INLINE Floats of_floats(const void* rows, int64_t row, int64_t columns, const float* query) {
  const float* first = static_cast<const float*>(rows) + row * columns;
  Floats partial[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    partial[i] = Floats{};
    for (int64_t at = 0; at < columns; at += kLanes)
      partial[i] += load<Floats>(first + i * columns + at) * load<Floats>(query + at);
  }
  return sums<kLanes>(partial);
}

// Scores of 16 rows, before their scales, of numbers of 8 or 4 bits. A lane holds four bytes, and rows of fewer than 16
// lanes share a vector. `flip` makes what is kept two's complement: int4 numbers are kept plus 8.
template <int bits, int lanes>
INLINE Floats of_numbers(const void* rows, int64_t row, int64_t columns, const float* query) {
  constexpr int places = 32 / bits;
  constexpr uint32_t flip = bits == 4 ? 0x88888888 : 0;
  const uint8_t* first = static_cast<const uint8_t*>(rows) + row * columns * bits / 8;
  const int64_t chunks = columns / (places * lanes);
  Floats partial[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    partial[i] = Floats{};
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const Unsigned words = load<Unsigned>(first + (i * chunks + chunk) * 4 * kLanes) ^ flip;
#pragma GCC unroll 8
      for (int place = 0; place < places; ++place) {
        const Words numbers = (Words)(words << (32 - bits - bits * place)) >> (32 - bits);
        const float* beside = query + (chunk * places + place) * kLanes;
        partial[i] += __builtin_convertvector(numbers, Floats) * load<Floats>(beside);
      }
    }
  }
  constexpr int shared = kLanes / lanes;  // rows of a vector: row r ends in lane r % shared * lanes + r / shared
  const Words order = (kLane & (shared - 1)) * lanes + kLane / shared;
  return __builtin_shuffle(sums<lanes>(partial), order);
}

// A query as `of_numbers` reads it: float [chunks, places, 16], repeated for the rows that share a vector.
std::vector<float> beside_numbers(const float* query, int64_t columns, int bits) {
  const int64_t places = 32 / bits, words = columns / places;
  std::vector<float> laid(std::max<int64_t>(words, kLanes) * places);
  for (int64_t at = 0; at < (int64_t)laid.size(); ++at) {
    const int64_t word = (at / (places * kLanes) * kLanes + at % kLanes) % words, place = at / kLanes % places;
    // int4: the low four bits of a byte are of the first half of the columns
    laid[at] = query[bits == 8 ? 4 * word + place : 4 * word + place / 2 + place % 2 * columns / 2];
  }
  return laid;
}

struct Pass {
  const void* rows;
  const uint16_t* scales;  // float16 [N], or null
  const bool* mask;        // [1 or B, N], or null
  int64_t mask_stride;     // from one query's mask to the next: 0 or N
  int64_t count, columns, block, queries, blocks;
  std::vector<std::vector<float>> laid;  // queries as the format reads them
  float* best;                           // [B, blocks]
};

template <Floats (*scores)(const void*, int64_t, int64_t, const float*)>
INLINE void best_of_block(const Pass& pass, int64_t block) {
  const int64_t size = pass.block == 1 ? kLanes : pass.block;  // blocks of one row are scored 16 at a time
  const int64_t begin = block * size, end = std::min(begin + size, pass.count);
  for (int64_t query = 0; query < pass.queries; ++query) {
    Floats best = Floats{} + kNone;
    for (int64_t row = begin; row < end; row += kLanes) {
      const int64_t at = std::min(row, pass.count - kLanes);  // the last rows are read together with some before them
      Floats found = scores(pass.rows, at, pass.columns, pass.laid[query].data());
      if (pass.scales) found *= load_halves(pass.scales + at);
      Words may = kLane + (int32_t)(at - row) >= 0;
      if (pass.block == 1) may = Words{} - 1;
      if (pass.mask)
        for (int lane = 0; lane < kLanes; ++lane)
          may[lane] = pass.mask[query * pass.mask_stride + at + lane] ? may[lane] : 0;
      if (pass.block == 1) {
        store(pass.mask ? (may ? found : Floats{} + kNone) : found, pass.best + query * pass.blocks + at);
        continue;
      }
      found = may ? found : Floats{} + kNone;
      best = found > best ? found : best;
    }
    if (pass.block == 1) continue;
    float most = kNone;
    for (int lane = 0; lane < kLanes; ++lane) most = std::max(most, best[lane]);
    pass.best[query * pass.blocks + block] = most;
  }
}

#define LOOP(name, scores)                                                \
  CLONES void name(const Pass& pass, int64_t begin, int64_t end) {        \
    for (int64_t block = begin; block < end; ++block) best_of_block<scores>(pass, block); \
  }
LOOP(float32_blocks, of_floats)
LOOP(int8_blocks_4, of_numbers<8 COMMA 4>)
LOOP(int8_blocks_8, of_numbers<8 COMMA 8>)
LOOP(int8_blocks_16, of_numbers<8 COMMA 16>)
LOOP(int4_blocks_2, of_numbers<4 COMMA 2>)
LOOP(int4_blocks_4, of_numbers<4 COMMA 4>)
LOOP(int4_blocks_8, of_numbers<4 COMMA 8>)
LOOP(int4_blocks_16, of_numbers<4 COMMA 16>)

using Loop = void (*)(const Pass&, int64_t, int64_t);

// By the bits of a number; null where rows of this width are not read.
Loop loop_of(int bits, int64_t columns) {
  if (bits == 32) return columns % kLanes ? nullptr : float32_blocks;
  const int64_t words = columns * bits / 32;
  if (columns % (32 / bits)) return nullptr;
  if (words == 2 && bits == 4) return int4_blocks_2;
  if (words == 4) return bits == 8 ? int8_blocks_4 : int4_blocks_4;
  if (words == 8) return bits == 8 ? int8_blocks_8 : int4_blocks_8;
  if (words % kLanes) return nullptr;
  return bits == 8 ? int8_blocks_16 : int4_blocks_16;
}

int bits_of(ffi::DataType type) { return type == ffi::F32 ? 32 : type == ffi::S8 ? 8 : 4; }

ffi::Error block_maxima(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> queries, ffi::AnyBuffer rows,
                        ffi::Buffer<ffi::F16> scales, ffi::Buffer<ffi::PRED> mask, int64_t block,
                        ffi::ResultBuffer<ffi::F32> best) {
  const int64_t columns = queries.dimensions()[1];
  const int bits = bits_of(rows.element_type());
  const Loop loop = loop_of(bits, columns);
  if (!loop || rows.dimensions()[0] < kLanes || (block % kLanes && block != 1))
    return ffi::Error::InvalidArgument("rows of this width or type, or so few of them, are not read");
  Pass pass;
  pass.rows = rows.untyped_data();
  pass.scales = scales.element_count() ? static_cast<const uint16_t*>(scales.untyped_data()) : nullptr;
  pass.mask = mask.element_count() ? mask.typed_data() : nullptr;
  pass.count = rows.dimensions()[0];
  pass.mask_stride = mask.dimensions()[0] == 1 ? 0 : pass.count;
  pass.columns = columns;
  pass.block = block;
  pass.queries = queries.dimensions()[0];
  pass.blocks = best->dimensions()[1];
  pass.best = best->typed_data();
  for (int64_t query = 0; query < pass.queries; ++query) {
    const float* from = queries.typed_data() + query * columns;
    pass.laid.push_back(bits == 32 ? std::vector<float>(from, from + columns) : beside_numbers(from, columns, bits));
  }
  const int64_t blocks = block == 1 ? (pass.count + kLanes - 1) / kLanes : pass.blocks;
  in_parallel(pool, blocks, block == 1 ? 8 * kBlocks : kBlocks, [&](int64_t begin, int64_t end) { loop(pass, begin, end); });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(rexjax_block_maxima, block_maxima,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()   // queries [B, D]
                                  .Arg<ffi::AnyBuffer>()          // rows float32 or int8 [N, D], or uint8 [N, D / 2]
                                  .Arg<ffi::Buffer<ffi::F16>>()   // scales [N], or [0]
                                  .Arg<ffi::Buffer<ffi::PRED>>()  // mask [1 or B, N], or [1, 0]
                                  .Attr<int64_t>("block")
                                  .Ret<ffi::Buffer<ffi::F32>>());  // [B, ceil(N / S)]
