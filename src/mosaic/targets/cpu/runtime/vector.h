/* Vectors of floats as wide as the machine has them, by gcc's vector extension. */
#if defined(__AVX512F__)
#define MS_VECTOR 64
#elif defined(__AVX__)
#define MS_VECTOR 32
#else
#define MS_VECTOR 16
#endif
#define MS_LANES (MS_VECTOR / 4)
typedef float ms_floats __attribute__((vector_size(MS_VECTOR)));
typedef int32_t ms_lanes __attribute__((vector_size(MS_VECTOR)));
#if MS_LANES == 16
#define MS_EACH_LANE(F) {F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15)}
#elif MS_LANES == 8
#define MS_EACH_LANE(F) {F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7)}
#else
#define MS_EACH_LANE(F) {F(0), F(1), F(2), F(3)}
#endif
MS_INLINE ms_floats ms_load(const float *from) { ms_floats x; __builtin_memcpy(&x, from, MS_VECTOR); return x; }
MS_INLINE ms_floats ms_choose(ms_lanes mask, ms_floats yes, ms_floats no) {
  return (ms_floats)(((ms_lanes)yes & mask) | ((ms_lanes)no & ~mask));
}
