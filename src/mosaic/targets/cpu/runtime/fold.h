/* Folds of contiguous floats: two vectors of partial results, then one, then its lanes by halves. */
#define MS_STEP_sum(a, b) ((a) + (b))
#define MS_STEP_max(a, b) ms_choose(((a) > (b)) | ((b) != (b)), a, b)
#define MS_STEP_min(a, b) ms_choose(((a) < (b)) | ((b) != (b)), a, b)
#define MS_SIZE(x) ((ms_floats)((ms_lanes)(x) & 0x7fffffff))
#define MS_AS_IS(x) (x)
#define MS_TURNED(lane) (((lane) + MS_HALF) % MS_LANES)
#define MS_HALVE(STEP, HALF)                                            \
  if (HALF < MS_LANES) {                                                \
    enum { MS_HALF = HALF };                                            \
    const ms_lanes turn = MS_EACH_LANE(MS_TURNED);                      \
    ms_floats other = __builtin_shuffle(part, turn);                    \
    part = STEP(part, other);                                           \
  }
#define MS_FOLD(NAME, STEP, SCALAR, ELEMENT, ELEMENT_SCALAR)                                                        \
  static __attribute__((unused)) float NAME(const float *from, int64_t count, float folded, float identity) {       \
    int64_t i = 0;                                                                                                  \
    if (count >= MS_LANES) {                                                                                        \
      ms_floats part = (ms_floats){0} + identity, second = part;                                                    \
      for (; i + 2 * MS_LANES <= count; i += 2 * MS_LANES) {                                                        \
        ms_floats a = ELEMENT(ms_load(from + i)), b = ELEMENT(ms_load(from + i + MS_LANES));                        \
        part = STEP(part, a);                                                                                       \
        second = STEP(second, b);                                                                                   \
      }                                                                                                             \
      part = STEP(part, second);                                                                                    \
      for (; i + MS_LANES <= count; i += MS_LANES) {                                                                \
        ms_floats a = ELEMENT(ms_load(from + i));                                                                   \
        part = STEP(part, a);                                                                                       \
      }                                                                                                             \
      MS_HALVE(STEP, 8) MS_HALVE(STEP, 4) MS_HALVE(STEP, 2) MS_HALVE(STEP, 1)                                       \
      folded = SCALAR(folded, part[0]);                                                                             \
    }                                                                                                               \
    for (; i < count; i++) folded = SCALAR(folded, ELEMENT_SCALAR(from[i]));                                        \
    return folded;                                                                                                  \
  }
MS_INLINE float ms_sum_f32(float a, float b) { return a + b; }
MS_FOLD(ms_fold_sum, MS_STEP_sum, ms_sum_f32, MS_AS_IS, MS_AS_IS)
MS_FOLD(ms_fold_max, MS_STEP_max, ms_max_f32, MS_AS_IS, MS_AS_IS)
MS_FOLD(ms_fold_min, MS_STEP_min, ms_min_f32, MS_AS_IS, MS_AS_IS)
MS_FOLD(ms_fold_abssum, MS_STEP_sum, ms_sum_f32, MS_SIZE, __builtin_fabsf)
MS_FOLD(ms_fold_absmax, MS_STEP_max, ms_max_f32, MS_SIZE, __builtin_fabsf)
