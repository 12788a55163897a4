/* Elementary functions of float and double. */
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
MS_LIBM(exp, expf, exp)
MS_LIBM(exp2, exp2f, exp2)
MS_LIBM(log, logf, log)
MS_LIBM(log2, log2f, log2)
MS_LIBM(tanh, tanhf, tanh)
MS_LIBM(erf, erff, erf)
MS_INLINE float ms_exp10_f32(float x) { return (float)pow(10.0, x); }
MS_INLINE double ms_exp10_f64(double x) { return pow(10.0, x); }
MS_INLINE float ms_rsqrt_f32(float x) { return 1.0f / __builtin_sqrtf(x); }
MS_INLINE double ms_rsqrt_f64(double x) { return 1.0 / __builtin_sqrt(x); }
MS_INLINE float ms_sigmoid_f32(float x) { return 1.0f / (1.0f + ms_exp_f32(-x)); }
MS_INLINE double ms_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }
MS_INLINE int ms_isnan_f32(float x) { return x != x; }
MS_INLINE int ms_isnan_f64(double x) { return x != x; }
MS_INLINE int ms_isinf_f32(float x) { return __builtin_fabsf(x) == __builtin_inff(); }
MS_INLINE int ms_isinf_f64(double x) { return __builtin_fabs(x) == __builtin_inf(); }
MS_INLINE int ms_isfinite_f32(float x) { return __builtin_fabsf(x) < __builtin_inff(); }
MS_INLINE int ms_isfinite_f64(double x) { return __builtin_fabs(x) < __builtin_inf(); }
MS_INLINE float ms_clamp_f32(float x, float low, float high) { return ms_min_nan_f32(ms_max_nan_f32(x, low), high) + 0.0f * (low + high); }
MS_INLINE double ms_clamp_f64(double x, double low, double high) { return x != x ? x : ms_min_f64(ms_max_f64(x, low), high); }
