/* Atomic updates by compare-and-exchange of the bits; floats compare by value, so max and min keep fmax's meaning. */
#define MS_ATOMIC(NAME, TYPE, BITS, VALUE, NEXT, LOAD, STORE)                                            \
  static __attribute__((unused)) VALUE NAME(TYPE *address, VALUE x) {                                    \
    BITS *place = (BITS *)address;                                                                       \
    BITS seen = __atomic_load_n(place, __ATOMIC_RELAXED);                                                \
    for (;;) {                                                                                           \
      VALUE old = LOAD(seen);                                                                            \
      BITS next = STORE((VALUE)(NEXT));                                                                  \
      if (__atomic_compare_exchange_n(place, &seen, next, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return old; \
    }                                                                                                    \
  }
#define MS_ATOMICS(TAG, TYPE, BITS, VALUE, MAX, MIN, LOAD, STORE)                        \
  MS_ATOMIC(ms_atomic_add_##TAG, TYPE, BITS, VALUE, old + x, LOAD, STORE)                \
  MS_ATOMIC(ms_atomic_max_##TAG, TYPE, BITS, VALUE, MAX(old, x), LOAD, STORE)            \
  MS_ATOMIC(ms_atomic_min_##TAG, TYPE, BITS, VALUE, MIN(old, x), LOAD, STORE)            \
  static __attribute__((unused)) VALUE ms_atomic_load_##TAG(const TYPE *address) { return LOAD(__atomic_load_n((const BITS *)address, __ATOMIC_ACQUIRE)); } \
  MS_ATOMIC(ms_atomic_store_##TAG, TYPE, BITS, VALUE, x, LOAD, STORE)
#define MS_SAME(x) (x)
#define MS_LARGER(a, b) ((a) > (b) ? (a) : (b))
#define MS_SMALLER(a, b) ((a) < (b) ? (a) : (b))
MS_ATOMICS(f32, float, uint32_t, float, ms_max_f32, ms_min_f32, ms_f32_from_bits, ms_bits_of_f32)
MS_ATOMICS(f64, double, uint64_t, double, ms_max_f64, ms_min_f64, ms_f64_from_bits, ms_bits_of_f64)
MS_ATOMICS(f16, uint16_t, uint16_t, float, ms_max_f32, ms_min_f32, ms_f16_to_f32, ms_f32_to_f16)
MS_ATOMICS(bf16, uint16_t, uint16_t, float, ms_max_f32, ms_min_f32, ms_bf16_to_f32, ms_f32_to_bf16)
#define MS_INTEGER_ATOMICS(TAG, TYPE)                                                    \
  MS_ATOMICS(TAG, TYPE, TYPE, TYPE, MS_LARGER, MS_SMALLER, MS_SAME, MS_SAME)             \
  MS_ATOMIC(ms_atomic_or_##TAG, TYPE, TYPE, TYPE, old | x, MS_SAME, MS_SAME)
MS_INTEGER_ATOMICS(i32, int32_t)
MS_INTEGER_ATOMICS(u32, uint32_t)
MS_INTEGER_ATOMICS(i64, int64_t)
MS_INTEGER_ATOMICS(u64, uint64_t)
