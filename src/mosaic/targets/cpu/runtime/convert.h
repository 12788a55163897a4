/* `count` neighbours from one type to another. By assembly for float16, for which gcc 12 has no vector conversion of its own. */
#define MS_WIDEN(NAME, FROM, CONVERT)                                                                  \
  static __attribute__((unused)) void NAME(int64_t count, const FROM *restrict from, float *restrict to) { \
    for (int64_t i = 0; i < count; i++) to[i] = (float)CONVERT(from[i]);                               \
  }
#if defined(__F16C__) && MS_VECTOR >= 32
typedef uint16_t ms_halves __attribute__((vector_size(MS_VECTOR / 2)));
static __attribute__((unused)) void ms_widen_f16(int64_t count, const uint16_t *restrict from, float *restrict to) {
  int64_t i = 0;
  for (; i + MS_LANES <= count; i += MS_LANES) {
    ms_halves half;
    ms_floats single;
    __builtin_memcpy(&half, from + i, MS_VECTOR / 2);
    __asm__("vcvtph2ps %1, %0" : "=v"(single) : "v"(half));
    __builtin_memcpy(to + i, &single, MS_VECTOR);
  }
  for (; i < count; i++) to[i] = ms_f16_to_f32(from[i]);
}
static __attribute__((unused)) void ms_narrow_f16(int64_t count, const float *restrict from, uint16_t *restrict to) {
  int64_t i = 0;
  for (; i + MS_LANES <= count; i += MS_LANES) {
    ms_halves half;
    ms_floats single = ms_load(from + i);
    __asm__("vcvtps2ph $0, %1, %0" : "=v"(half) : "v"(single)); /* 0: to nearest even, whatever the mode is */
    __builtin_memcpy(to + i, &half, MS_VECTOR / 2);
  }
  for (; i < count; i++) to[i] = ms_f32_to_f16(from[i]);
}
#else
MS_WIDEN(ms_widen_f16, uint16_t, ms_f16_to_f32)
static __attribute__((unused)) void ms_narrow_f16(int64_t count, const float *restrict from, uint16_t *restrict to) {
  for (int64_t i = 0; i < count; i++) to[i] = ms_f32_to_f16(from[i]);
}
#endif
