/* Bits, choices and integer arithmetic with the meaning they have on a GPU.
   Everything is free of branches so that gcc vectorises the loops that use it. */
#include <stdint.h>
#include <stdlib.h>

#define MS_INLINE static inline __attribute__((always_inline, unused))

MS_INLINE float ms_f32_from_bits(uint32_t bits) { float x; __builtin_memcpy(&x, &bits, 4); return x; }
MS_INLINE uint32_t ms_bits_of_f32(float x) { uint32_t bits; __builtin_memcpy(&bits, &x, 4); return bits; }
MS_INLINE double ms_f64_from_bits(uint64_t bits) { double x; __builtin_memcpy(&x, &bits, 8); return x; }
MS_INLINE uint64_t ms_bits_of_f64(double x) { uint64_t bits; __builtin_memcpy(&bits, &x, 8); return bits; }
MS_INLINE float ms_nan(void) { return __builtin_nanf(""); }

/* `yes` where the condition holds; by masks, because gcc gives up on a loop in which it has turned a ?: into a jump. */
MS_INLINE uint32_t ms_select_u32(int condition, uint32_t yes, uint32_t no) {
  uint32_t mask = -(uint32_t)condition;
  return (yes & mask) | (no & ~mask);
}
MS_INLINE int32_t ms_select_i32(int condition, int32_t yes, int32_t no) {
  return (int32_t)ms_select_u32(condition, (uint32_t)yes, (uint32_t)no);
}
MS_INLINE float ms_select_f32(int condition, float yes, float no) {
  return ms_f32_from_bits(ms_select_u32(condition, ms_bits_of_f32(yes), ms_bits_of_f32(no)));
}

/* CUDA's fmaxf and fminf: the other operand where one is NaN. */
MS_INLINE float ms_max_f32(float a, float b) { return ms_select_f32((a > b) | (b != b), a, b); }
MS_INLINE float ms_min_f32(float a, float b) { return ms_select_f32((a < b) | (b != b), a, b); }
MS_INLINE double ms_max_f64(double a, double b) { return (a > b) | (b != b) ? a : b; }
MS_INLINE double ms_min_f64(double a, double b) { return (a < b) | (b != b) ? a : b; }
/* The maximum and minimum that are NaN where an operand is: a NaN a compares false, a NaN b is unequal to itself. */
MS_INLINE float ms_max_nan_f32(float a, float b) { return (b > a) | (b != b) ? b : a; }
MS_INLINE float ms_min_nan_f32(float a, float b) { return (b < a) | (b != b) ? b : a; }
MS_INLINE double ms_max_nan_f64(double a, double b) { return (b > a) | (b != b) ? b : a; }
MS_INLINE double ms_min_nan_f64(double a, double b) { return (b < a) | (b != b) ? b : a; }

/* T.any_of and T.all_of over `count` elements. */
#define MS_ANY(from, count) ({ int ms_any = 0; for (int64_t ms_i = 0; ms_i < (count); ms_i++) ms_any |= (from)[ms_i] != 0; ms_any; })
#define MS_ALL(from, count) ({ int ms_all = 1; for (int64_t ms_i = 0; ms_i < (count); ms_i++) ms_all &= (from)[ms_i] != 0; ms_all; })

MS_INLINE int64_t ms_clamp_index(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* Float to integer as the cvt instructions do: towards zero, saturated, NaN to zero. */
MS_INLINE int32_t ms_f32_to_i32(float x) {
  float inside = (x >= -2147483648.0f) & (x < 2147483648.0f) ? x : 0.0f;
  int32_t beyond = x >= 2147483648.0f ? INT32_MAX : x < -2147483648.0f ? INT32_MIN : 0;
  return (int32_t)inside | beyond;
}
MS_INLINE uint32_t ms_f32_to_u32(float x) {
  float inside = (x > 0.0f) & (x < 4294967296.0f) ? x : 0.0f;
  return (uint32_t)inside | (x >= 4294967296.0f ? UINT32_MAX : 0u);
}
MS_INLINE int64_t ms_f64_to_i64(double x) {
  if (!(x == x)) return 0;
  return x >= 9223372036854775808.0 ? INT64_MAX : x < -9223372036854775808.0 ? INT64_MIN : (int64_t)x;
}
MS_INLINE uint64_t ms_f64_to_u64(double x) {
  if (!(x > 0)) return 0;
  return x >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)x;
}
MS_INLINE int32_t ms_f64_to_i32(double x) {
  if (!(x == x)) return 0;
  return x >= 2147483648.0 ? INT32_MAX : x < -2147483648.0 ? INT32_MIN : (int32_t)x;
}
MS_INLINE uint32_t ms_f64_to_u32(double x) {
  if (!(x > 0)) return 0;
  return x >= 4294967296.0 ? UINT32_MAX : (uint32_t)x;
}
/* Double to float with the last bit set where digits were lost ("round to odd"): rounding the result
   once more, to a type at least two digits shorter, gives what rounding the double at once would. */
MS_INLINE float ms_f64_to_odd_f32(double x) {
  float near = (float)x;
  uint32_t bits = ms_bits_of_f32(near);
  int lost = (double)near != x && x == x;
  if (lost && !(bits & 1)) bits += __builtin_fabs((double)near) < __builtin_fabs(x) ? 1u : UINT32_MAX;
  return ms_f32_from_bits(bits);
}

/* Division that rounds down, its remainder, and C's own; 0 by a zero divisor, which would kill the process. */
#define MS_DIVISION(TAG, TYPE)                                                                             \
  MS_INLINE TYPE ms_truncdiv_##TAG(TYPE a, TYPE b) { return b == 0 ? 0 : b == (TYPE)-1 ? (TYPE)(0 - (uint64_t)a) : (TYPE)(a / b); } \
  MS_INLINE TYPE ms_truncmod_##TAG(TYPE a, TYPE b) { return b == 0 || b == (TYPE)-1 ? 0 : (TYPE)(a % b); }  \
  MS_INLINE TYPE ms_floordiv_##TAG(TYPE a, TYPE b) {                                                       \
    TYPE r = ms_truncmod_##TAG(a, b);                                                                      \
    return (TYPE)(ms_truncdiv_##TAG(a, b) - ((r != 0) & ((r < 0) != (b < 0))));                            \
  }                                                                                                        \
  MS_INLINE TYPE ms_floormod_##TAG(TYPE a, TYPE b) {                                                       \
    TYPE r = ms_truncmod_##TAG(a, b);                                                                      \
    return (TYPE)((r != 0) & ((r < 0) != (b < 0)) ? r + b : r);                                            \
  }
#define MS_UNSIGNED_DIVISION(TAG, TYPE)                                                                    \
  MS_INLINE TYPE ms_truncdiv_##TAG(TYPE a, TYPE b) { return b == 0 ? 0 : (TYPE)(a / b); }                  \
  MS_INLINE TYPE ms_truncmod_##TAG(TYPE a, TYPE b) { return b == 0 ? 0 : (TYPE)(a % b); }                  \
  MS_INLINE TYPE ms_floordiv_##TAG(TYPE a, TYPE b) { return ms_truncdiv_##TAG(a, b); }                     \
  MS_INLINE TYPE ms_floormod_##TAG(TYPE a, TYPE b) { return ms_truncmod_##TAG(a, b); }
MS_DIVISION(i8, int8_t)
MS_DIVISION(i16, int16_t)
MS_DIVISION(i32, int32_t)
MS_DIVISION(i64, int64_t)
MS_UNSIGNED_DIVISION(u8, uint8_t)
MS_UNSIGNED_DIVISION(u16, uint16_t)
MS_UNSIGNED_DIVISION(u32, uint32_t)
MS_UNSIGNED_DIVISION(u64, uint64_t)
