/* Elementary functions of float and double.

   The float exp, exp2, log, log2, tanh, erf and sigmoid are free of branches and calls, so that loops over
   them vectorise, which calls of libm do not: a reduced argument, a polynomial, and the scaling back. The
   coefficients are minimax fits (Remez's exchange) for the relative error of the result; each comment says
   on what range and how close. All stay within 2 units in the last place of the exact value, over all
   floats; sigmoid, which adds and divides after its exp, within 2.5. Everything else is libm's. */
#include <math.h>

#define MS_LIBM(NAME, SINGLE, DOUBLE)                                    \
  MS_INLINE float ms_##NAME##_f32(float x) { return SINGLE(x); }         \
  MS_INLINE double ms_##NAME##_f64(double x) { return DOUBLE(x); }
#define MS_LIBM2(NAME, SINGLE, DOUBLE)                                   \
  MS_INLINE float ms_##NAME##_f32(float x, float y) { return SINGLE(x, y); } \
  MS_INLINE double ms_##NAME##_f64(double x, double y) { return DOUBLE(x, y); }
MS_LIBM(log10, log10f, log10)
MS_LIBM(log1p, log1pf, log1p)
MS_LIBM(sqrt, __builtin_sqrtf, __builtin_sqrt)
MS_LIBM(sin, sinf, sin)
MS_LIBM(cos, cosf, cos)
MS_LIBM(tan, tanf, tan)
MS_LIBM(sinh, sinhf, sinh)
MS_LIBM(cosh, coshf, cosh)
MS_LIBM(asin, asinf, asin)
MS_LIBM(acos, acosf, acos)
MS_LIBM(atan, atanf, atan)
MS_LIBM2(atan2, atan2f, atan2)
MS_LIBM2(pow, powf, pow)
MS_LIBM2(fmod, fmodf, fmod)
MS_LIBM2(hypot, hypotf, hypot)
MS_LIBM2(copysign, __builtin_copysignf, __builtin_copysign)
MS_LIBM(floor, __builtin_floorf, __builtin_floor)
MS_LIBM(ceil, __builtin_ceilf, __builtin_ceil)
MS_LIBM(trunc, __builtin_truncf, __builtin_trunc)
MS_LIBM(nearbyint, __builtin_nearbyintf, __builtin_nearbyint)
MS_LIBM(fabs, __builtin_fabsf, __builtin_fabs)

#define MS_ROUNDER 12582912.0f /* 1.5 * 2^23: adding and taking it away again rounds to an integer */

/* 2^n for -126 <= n <= 127. */
MS_INLINE float ms_power_of_two(int32_t n) { return ms_f32_from_bits((uint32_t)(n + 127) << 23); }
/* x 2^n for |n| <= 252, in two steps, so that a subnormal result is rounded once and a large one overflows. */
MS_INLINE float ms_scale(float x, int32_t n) { return x * ms_power_of_two(n >> 1) * ms_power_of_two(n - (n >> 1)); }

/* exp(r) for |r| <= log(2)/2, to 2^-28. */
MS_INLINE float ms_exp_reduced(float r) {
  float q = 0x1.6a234cp-10f;
  q = q * r + 0x1.123a6cp-7f;
  q = q * r + 0x1.5558f4p-5f;
  q = q * r + 0x1.555490p-3f;
  q = q * r + 0x1.fffffcp-2f;
  return r * r * q + r + 1.0f;
}
MS_INLINE float ms_exp_f32(float x) {
  x = x > 90.0f ? 90.0f : x;   /* beyond: infinity; a NaN stays */
  x = x < -105.0f ? -105.0f : x; /* beyond: zero */
  float shifted = x * 0x1.715476p+0f + MS_ROUNDER, n = shifted - MS_ROUNDER;
  float r = x - n * 0x1.62e4p-1f; /* log(2) in two parts, the first short enough that n times it is exact */
  r = r - n * 0x1.7f7d1cp-20f;
  return ms_scale(ms_exp_reduced(r), (int32_t)(ms_bits_of_f32(shifted) - 0x4b400000u));
}
/* 2^r for |r| <= 1/2, to 2^-28. */
MS_INLINE float ms_exp2_reduced(float r) {
  float q = 0x1.41fb34p-13f;
  q = q * r + 0x1.5f3f30p-10f;
  q = q * r + 0x1.3b2d50p-7f;
  q = q * r + 0x1.c6aee6p-5f;
  q = q * r + 0x1.ebfbdcp-3f;
  q = q * r + 0x1.62e430p-1f;
  return r * q + 1.0f;
}
MS_INLINE float ms_exp2_f32(float x) {
  x = x > 130.0f ? 130.0f : x;
  x = x < -152.0f ? -152.0f : x;
  float shifted = x + MS_ROUNDER, n = shifted - MS_ROUNDER;
  return ms_scale(ms_exp2_reduced(x - n), (int32_t)(ms_bits_of_f32(shifted) - 0x4b400000u));
}

/* x = (1 + f) 2^e with sqrt(1/2) <= 1 + f < sqrt(2), for positive x, subnormal ones too. */
MS_INLINE float ms_split(float x, float *e) {
  int tiny = x < 0x1p-126f;
  uint32_t bits = ms_bits_of_f32(ms_select_f32(tiny, x * 0x1p23f, x));
  uint32_t part = bits - 0x3f3504f3u; /* sqrt(1/2) */
  *e = (float)((int32_t)part >> 23) - ms_select_f32(tiny, 23.0f, 0.0f);
  return ms_f32_from_bits((part & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
}
/* What a logarithm gives where it is not a number: -infinity of 0, infinity of infinity, NaN of the rest. */
MS_INLINE float ms_log_edges(float x, float finite) {
  float edge = x == 0.0f ? -__builtin_inff() : x > 0.0f ? x : ms_nan();
  return ms_select_f32((x > 0.0f) & (x < __builtin_inff()), finite, edge);
}
MS_INLINE float ms_log_f32(float x) {
  float e, f = ms_split(x, &e), square = f * f;
  float p = 0x1.145754p-4f; /* (log(1 + f) - f + f^2/2) / f^3, to 2^-30 of log(1 + f) */
  p = p * f - 0x1.de3be2p-4f;
  p = p * f + 0x1.e6f074p-4f;
  p = p * f - 0x1.fc2212p-4f;
  p = p * f + 0x1.233768p-3f;
  p = p * f - 0x1.555c4ep-3f;
  p = p * f + 0x1.99a4b6p-3f;
  p = p * f - 0x1.000006p-2f;
  p = p * f + 0x1.555548p-2f;
  float tail = e * 0x1.7f7d1cp-20f + (square * f * p - 0.5f * square);
  return ms_log_edges(x, e * 0x1.62e4p-1f + (f + tail));
}
MS_INLINE float ms_log2_f32(float x) {
  float e, f = ms_split(x, &e);
  float q = -0x1.c26450p-4f; /* (log2(1 + f) - f log2(e)) / f^2, to 2^-27 of log2(1 + f) */
  q = q * f + 0x1.7d4786p-3f;
  q = q * f - 0x1.874854p-3f;
  q = q * f + 0x1.a30596p-3f;
  q = q * f - 0x1.eabd10p-3f;
  q = q * f + 0x1.277e3cp-2f;
  q = q * f - 0x1.715a72p-2f;
  q = q * f + 0x1.ec7096p-2f;
  q = q * f - 0x1.715470p-1f;
  float tail = f * f * q + f * 0x1.4ae0c0p-26f; /* log2(e) in two parts */
  return ms_log_edges(x, e + (f * 0x1.715476p+0f + tail));
}

MS_INLINE float ms_tanh_f32(float x) {
  float size = __builtin_fabsf(x), square = x * x;
  float p = 0x1.18e1e8p-9f; /* (tanh(x) / x - 1) / x^2 for |x| <= 0.625, to 2^-32 */
  p = p * square - 0x1.0bf500p-7f;
  p = p * square + 0x1.638b5ap-6f;
  p = p * square - 0x1.b9ee90p-5f;
  p = p * square + 0x1.111066p-3f;
  p = p * square - 0x1.555554p-2f;
  float near = square * p * x + x;
  float twice = size > 10.0f ? 20.0f : size + size; /* beyond, tanh is 1 */
  float far = 1.0f - 2.0f / (ms_exp_f32(twice) + 1.0f);
  return ms_select_f32(size < 0.625f, near, __builtin_copysignf(far, x));
}
MS_INLINE float ms_erf_f32(float x) {
  float size = __builtin_fabsf(x), square = x * x;
  float p = -0x1.438416p-17f; /* erf(x) / x - 1 for |x| <= 1, to 2^-34 */
  p = p * square + 0x1.d8269ap-14f;
  p = p * square - 0x1.bcbe9cp-11f;
  p = p * square + 0x1.5628eep-8f;
  p = p * square - 0x1.b829a8p-6f;
  p = p * square + 0x1.ce2f08p-4f;
  p = p * square - 0x1.812746p-2f;
  p = p * square + 0x1.06eba8p-3f;
  float near = p * x + x;
  float s = size > 4.0f ? 4.0f : size; /* beyond, erf is 1 */
  float q = -0x1.ed4d5ep-16f; /* log2(1 - erf(x)) for 1 <= x <= 4, to 2^-33 of erf(x) */
  q = q * s + 0x1.423a66p-11f;
  q = q * s - 0x1.866684p-8f;
  q = q * s + 0x1.278946p-5f;
  q = q * s - 0x1.3f65a0p-3f;
  q = q * s - 0x1.d3f3c0p-1f;
  q = q * s - 0x1.a121ccp+0f;
  q = q * s + 0x1.d8e48cp-13f;
  float far = 1.0f - ms_exp2_f32(q);
  return ms_select_f32(size < 1.0f, near, __builtin_copysignf(far, x));
}
MS_INLINE float ms_sigmoid_f32(float x) {
  float e = ms_exp_f32(-__builtin_fabsf(x)); /* of the negative side, which cannot overflow */
  return ms_select_f32(x < 0.0f, e, 1.0f) / (1.0f + e);
}
MS_INLINE float ms_rsqrt_f32(float x) { return 1.0f / __builtin_sqrtf(x); }
MS_INLINE float ms_exp10_f32(float x) { return (float)pow(10.0, x); }

MS_INLINE double ms_exp_f64(double x) { return exp(x); }
MS_INLINE double ms_exp2_f64(double x) { return exp2(x); }
MS_INLINE double ms_exp10_f64(double x) { return pow(10.0, x); }
MS_INLINE double ms_log_f64(double x) { return log(x); }
MS_INLINE double ms_log2_f64(double x) { return log2(x); }
MS_INLINE double ms_tanh_f64(double x) { return tanh(x); }
MS_INLINE double ms_erf_f64(double x) { return erf(x); }
MS_INLINE double ms_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }
MS_INLINE double ms_rsqrt_f64(double x) { return 1.0 / __builtin_sqrt(x); }

MS_INLINE int ms_isnan_f32(float x) { return x != x; }
MS_INLINE int ms_isnan_f64(double x) { return x != x; }
MS_INLINE int ms_isinf_f32(float x) { return __builtin_fabsf(x) == __builtin_inff(); }
MS_INLINE int ms_isinf_f64(double x) { return __builtin_fabs(x) == __builtin_inf(); }
MS_INLINE int ms_isfinite_f32(float x) { return __builtin_fabsf(x) < __builtin_inff(); }
MS_INLINE int ms_isfinite_f64(double x) { return __builtin_fabs(x) < __builtin_inf(); }

/* T.clamp is NaN where any of its operands is. */
MS_INLINE float ms_clamp_f32(float x, float low, float high) { return ms_min_nan_f32(ms_max_nan_f32(x, low), high); }
MS_INLINE double ms_clamp_f64(double x, double low, double high) { return ms_min_nan_f64(ms_max_nan_f64(x, low), high); }
