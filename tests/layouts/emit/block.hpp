// A block of threads on a processor: every thread is a fiber that runs until it waits for the others, in an order that changes each time.
// What a warp instruction reads of other lanes is there because all lanes have come to it. Only what conversions use is here.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __device__
#define __forceinline__ inline

namespace block {
constexpr int most = 1024;
constexpr size_t stack_bytes = 1 << 16;
inline ucontext_t scheduler, fibers[most];
inline bool finished[most];
inline int threads, running, warp_size;
inline unsigned turn[most];            // how often each thread has waited
inline unsigned exchanged[2][most];    // what lanes show each other, for even and odd turns
inline std::vector<char> stacks;
inline std::function<void()> body;

inline void start() { body(); finished[running] = true; }
inline void wait() { ++turn[running]; swapcontext(&fibers[running], &scheduler); }

// Runs `work` as all threads of a block.
inline void run(int count, int warp, std::function<void()> work) {
  threads = count, warp_size = warp, body = std::move(work);
  stacks.resize(stack_bytes * count);
  for (int thread = 0; thread < count; ++thread) {
    finished[thread] = false, turn[thread] = 0;
    getcontext(&fibers[thread]);
    fibers[thread].uc_stack.ss_sp = &stacks[stack_bytes * thread];
    fibers[thread].uc_stack.ss_size = stack_bytes;
    fibers[thread].uc_link = &scheduler;
    makecontext(&fibers[thread], start, 0);
  }
  for (unsigned pass = 1, left = count; left; ++pass) {
    left = 0;
    for (int at = 0; at < count; ++at) {
      running = pass % 2 ? count - 1 - at : (at * 5 + 3) % count;
      if (count % 5 == 0) running = at;
      if (finished[running]) continue;
      swapcontext(&scheduler, &fibers[running]);
      left += !finished[running];
    }
    // All wait, or all have ended: a barrier that some threads do not come to would hang on a GPU.
    if (left && left != unsigned(count)) { std::printf("threads have parted\n"); std::exit(2); }
  }
}

// One lane's word, as `lane` of this thread's warp shows it.
template <typename Source> unsigned from_lane(unsigned value, Source lane_of) {
  const int self = running;
  unsigned *shown = exchanged[turn[self] & 1];
  shown[self] = value;
  wait();
  return shown[self / warp_size * warp_size + lane_of(unsigned(self % warp_size)) % warp_size];
}
}  // namespace block

struct Index { operator unsigned() const { return unsigned(block::running); } };
struct Indices { Index x; };
inline Indices threadIdx;
struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline void __syncthreads() { block::wait(); }

// CUDA
inline unsigned __shfl_sync(unsigned, unsigned value, unsigned lane) {
  return block::from_lane(value, [lane](unsigned) { return lane; });
}
inline unsigned __shfl_xor_sync(unsigned, unsigned value, unsigned mask) {
  return block::from_lane(value, [mask](unsigned lane) { return lane ^ mask; });
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const uint64_t both = uint64_t(high) << 32 | low;
  unsigned word = 0;
  for (int at = 0; at < 4; ++at) word |= unsigned(both >> 8 * (selector >> 4 * at & 7) & 0xff) << 8 * at;
  return word;
}
namespace mosaic {
// What is assembly on the GPU.
inline unsigned transpose(unsigned value) {
  unsigned word = 0;
  const unsigned lane = block::running % 32;
  for (int slot = 0; slot < 2; ++slot) {
    const unsigned row = 2 * (lane % 4) + slot, column = lane / 4;
    const unsigned other = block::from_lane(value, [=](unsigned) { return 4 * row + column / 2; });
    word |= (other >> 16 * (column % 2) & 0xffff) << 16 * slot;
  }
  return word;
}
inline void barrier(unsigned, unsigned) { block::wait(); }
}  // namespace mosaic

// AMD, after the instruction sets' descriptions of v_perm_b32, ds_bpermute_b32, ds_swizzle_b32, DPP and v_permlane16/32_swap_b32
inline unsigned __builtin_amdgcn_perm(unsigned high, unsigned low, unsigned selector) {
  const uint64_t both = uint64_t(high) << 32 | low;
  unsigned word = 0;
  for (int at = 0; at < 4; ++at) word |= unsigned(both >> 8 * (selector >> 8 * at & 7) & 0xff) << 8 * at;
  return word;
}
inline unsigned __builtin_amdgcn_ds_bpermute(unsigned address, unsigned value) {
  return block::from_lane(value, [address](unsigned) { return address >> 2; });
}
inline unsigned __builtin_amdgcn_ds_swizzle(unsigned value, unsigned pattern) {
  return block::from_lane(value, [pattern](unsigned lane) {
    return (lane & 32) | (((lane & 31 & pattern) | (pattern >> 5 & 31)) ^ (pattern >> 10 & 31));
  });
}
inline unsigned __builtin_amdgcn_mov_dpp(unsigned value, unsigned control, unsigned, unsigned, bool) {
  return block::from_lane(value, [control](unsigned lane) -> unsigned {
    if (control < 0x100) return (lane & ~3u) | (control >> 2 * (lane & 3) & 3);
    if (control == 0x140) return lane ^ 15;
    if (control == 0x141) return lane ^ 7;
    if (control > 0x120 && control < 0x130) return (lane & ~15u) | ((lane - (control & 15)) & 15);
    std::abort();
  });
}
struct Pair { unsigned at[2]; unsigned operator[](int which) const { return at[which]; } };
inline Pair exchange_halves(unsigned first, unsigned second, unsigned bit) {
  const unsigned other_first = block::from_lane(first, [bit](unsigned lane) { return lane ^ bit; });
  const unsigned other_second = block::from_lane(second, [bit](unsigned lane) { return lane ^ bit; });
  return block::running & bit ? Pair{{other_second, second}} : Pair{{first, other_first}};
}
inline Pair __builtin_amdgcn_permlane16_swap(unsigned first, unsigned second, bool, bool) { return exchange_halves(first, second, 16); }
inline Pair __builtin_amdgcn_permlane32_swap(unsigned first, unsigned second, bool, bool) { return exchange_halves(first, second, 32); }
inline unsigned __lane_id() { return block::running % block::warp_size; }

// Small floats: rounded to nearest even; what is too large becomes infinite if there is an infinity, else the largest number.
template <typename Bits, int ExponentBits, int MantissaBits, int Bias, bool HasInfinity> struct Small {
  Bits raw;
  Small() = default;
  explicit Small(float value) {
    const int largest_exponent = (1 << ExponentBits) - 1 - (HasInfinity ? 1 : 0) - Bias;
    const double largest = std::ldexp(2.0 - std::ldexp(HasInfinity ? 1.0 : 2.0, -MantissaBits), largest_exponent);
    double magnitude = std::fabs(double(value));
    int exponent = magnitude > 0 ? std::ilogb(magnitude) : -Bias;
    if (exponent < 1 - Bias) exponent = 1 - Bias;
    const double step = std::ldexp(1.0, exponent - MantissaBits);
    double rounded = std::nearbyint(magnitude / step) * step;
    Bits bits;
    if (std::isnan(value)) bits = Bits((1u << (ExponentBits + MantissaBits)) - 1);
    else if (rounded > largest && HasInfinity) bits = Bits(((1u << ExponentBits) - 1) << MantissaBits);
    else {
      if (rounded > largest) rounded = largest;
      int top = rounded > 0 ? std::ilogb(rounded) : -Bias;
      if (top < 1 - Bias) bits = Bits(std::ldexp(rounded, Bias - 1 + MantissaBits));
      else bits = Bits(unsigned(top + Bias) << MantissaBits | unsigned(std::ldexp(rounded, MantissaBits - top)) - (1u << MantissaBits));
    }
    raw = Bits(bits | (std::signbit(value) ? 1u << (ExponentBits + MantissaBits) : 0u));
  }
  explicit operator float() const {
    const int exponent = raw >> MantissaBits & ((1 << ExponentBits) - 1), mantissa = raw & ((1 << MantissaBits) - 1);
    const double magnitude = exponent ? std::ldexp((1 << MantissaBits) + mantissa, exponent - Bias - MantissaBits)
                                      : std::ldexp(mantissa, 1 - Bias - MantissaBits);
    return float(raw >> (ExponentBits + MantissaBits) & 1 ? -magnitude : magnitude);
  }
};
using half_t = Small<uint16_t, 5, 10, 15, true>;
using bfloat16_t = Small<uint16_t, 8, 7, 127, true>;
using fp8_e4_t = Small<uint8_t, 4, 3, 7, false>;
using fp8_e5_t = Small<uint8_t, 5, 2, 15, true>;

namespace mosaic {
inline unsigned pack_e4m3(float a, float b, float c, float d) {
  return fp8_e4_t(a).raw | fp8_e4_t(b).raw << 8 | fp8_e4_t(c).raw << 16 | unsigned(fp8_e4_t(d).raw) << 24;
}
inline unsigned pack_e5m2(float a, float b, float c, float d) {
  return fp8_e5_t(a).raw | fp8_e5_t(b).raw << 8 | fp8_e5_t(c).raw << 16 | unsigned(fp8_e5_t(d).raw) << 24;
}
}  // namespace mosaic
