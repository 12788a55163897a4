/* A matrix of any type and strides (`row` and `column` elements) written row by row, in the type a product is
   computed in; each row padded with zeros to `width` elements, and `pitch` elements after the one before. */
#define MS_IDENTITY(x) (x)
MS_WIDEN(ms_widen_f32, float, MS_IDENTITY)
MS_WIDEN(ms_widen_bf16, uint16_t, ms_bf16_to_f32)
MS_WIDEN(ms_widen_e4m3, uint8_t, ms_e4m3_to_f32)
MS_WIDEN(ms_widen_e5m2, uint8_t, ms_e5m2_to_f32)
MS_WIDEN(ms_widen_i8, int8_t, MS_IDENTITY)

/* Rows become columns: in each step lanes and vectors whose numbers differ in one bit change places. */
#if MS_LANES == 16
#define MS_SWAP_STEPS(X) X(1) X(2) X(4) X(8)
#elif MS_LANES == 8
#define MS_SWAP_STEPS(X) X(1) X(2) X(4)
#else
#define MS_SWAP_STEPS(X) X(1) X(2)
#endif
#define MS_LOW(lane) ((lane) & MS_STEP ? MS_LANES + (lane) - MS_STEP : (lane))
#define MS_HIGH(lane) ((lane) & MS_STEP ? MS_LANES + (lane) : (lane) + MS_STEP)
#define MS_SWAP(STEP)                                                                                    \
  {                                                                                                      \
    enum { MS_STEP = STEP };                                                                             \
    const ms_lanes low = MS_EACH_LANE(MS_LOW), high = MS_EACH_LANE(MS_HIGH);                                       \
    _Pragma("GCC unroll 16") for (int i = 0; i < MS_LANES; i++) if (!(i & STEP)) {                       \
      ms_floats a = rows[i], b = rows[i + STEP];                                                         \
      rows[i] = __builtin_shuffle(a, b, low);                                                            \
      rows[i + STEP] = __builtin_shuffle(a, b, high);                                                    \
    }                                                                                                    \
  }
MS_INLINE void ms_transpose(ms_floats rows[MS_LANES]) { MS_SWAP_STEPS(MS_SWAP) }

#define MS_PACK_ANY(NAME, FROM, TO, CONVERT)                                                                      \
  static __attribute__((unused)) void NAME(int64_t rows, int64_t columns, const FROM *restrict from, int64_t row, \
                                           int64_t column, TO *restrict to, int64_t width, int64_t pitch) {       \
    for (int64_t r = 0; r < rows; r++) {                                                                          \
      if (column == 1)                                                                                            \
        for (int64_t c = 0; c < columns; c++) to[r * pitch + c] = (TO)CONVERT(from[r * row + c]);                 \
      else                                                                                                        \
        for (int64_t c = 0; c < columns; c++) to[r * pitch + c] = (TO)CONVERT(from[r * row + c * column]);        \
      for (int64_t c = columns; c < width; c++) to[r * pitch + c] = 0;                                            \
    }                                                                                                             \
  }
#define MS_CHUNK 64
#define MS_PACK(TAG, FROM, CONVERT)                                                                               \
  MS_PACK_ANY(ms_pack_rest_##TAG, FROM, float, CONVERT)                                                           \
  /* MS_LANES columns, each of them contiguous, in chunks of rows: converted as they lie, then transposed */      \
  static __attribute__((unused)) void ms_pack_turned_##TAG(int64_t rows, const FROM *restrict from, int64_t column, \
                                                           float *restrict to, int64_t pitch) {                   \
    float turned[MS_LANES][MS_CHUNK] __attribute__((aligned(64)));                                                \
    for (int64_t first = 0; first < rows; first += MS_CHUNK) {                                                    \
      int64_t count = rows - first < MS_CHUNK ? rows - first : MS_CHUNK;                                          \
      for (int64_t c = 0; c < MS_LANES; c++) ms_widen_##TAG(count, from + first + c * column, turned[c]);         \
      for (int64_t r = 0; r < count; r += MS_LANES) {                                                             \
        ms_floats tile[MS_LANES];                                                                                 \
        _Pragma("GCC unroll 16") for (int i = 0; i < MS_LANES; i++) __builtin_memcpy(&tile[i], &turned[i][r], MS_VECTOR); \
        ms_transpose(tile);                                                                                       \
        _Pragma("GCC unroll 16") for (int i = 0; i < MS_LANES; i++)                                               \
          __builtin_memcpy(to + (first + r + i) * pitch, &tile[i], MS_VECTOR);                                    \
      }                                                                                                           \
    }                                                                                                             \
  }                                                                                                               \
  static __attribute__((unused)) void ms_pack_##TAG##_f32(int64_t rows, int64_t columns, const FROM *restrict from, \
                                           int64_t row, int64_t column, float *restrict to, int64_t width, int64_t pitch) { \
    if (column == 1) {                                                                                            \
      for (int64_t r = 0; r < rows; r++) {                                                                        \
        ms_widen_##TAG(columns, from + r * row, to + r * pitch);                                                  \
        for (int64_t c = columns; c < width; c++) to[r * pitch + c] = 0;                                          \
      }                                                                                                           \
      return;                                                                                                     \
    }                                                                                                             \
    int64_t whole_rows = row == 1 ? rows - rows % MS_LANES : 0, whole_columns = columns - columns % MS_LANES;     \
    if (whole_rows) {                                                                                             \
      for (int64_t c = 0; c < whole_columns; c += MS_LANES)                                                       \
        ms_pack_turned_##TAG(whole_rows, from + c * column, column, to + c, pitch);                               \
      ms_pack_rest_##TAG(whole_rows, columns - whole_columns, from + whole_columns * column, row, column,         \
                         to + whole_columns, width - whole_columns, pitch);                                       \
    }                                                                                                             \
    ms_pack_rest_##TAG(rows - whole_rows, columns, from + whole_rows * row, row, column, to + whole_rows * pitch, width, pitch); \
  }
MS_PACK(f32, float, MS_IDENTITY)
MS_PACK(f16, uint16_t, ms_f16_to_f32)
MS_PACK(bf16, uint16_t, ms_bf16_to_f32)
MS_PACK(e4m3, uint8_t, ms_e4m3_to_f32)
MS_PACK(e5m2, uint8_t, ms_e5m2_to_f32)
MS_PACK(i8, int8_t, MS_IDENTITY)
MS_PACK_ANY(ms_pack_f64_f64, double, double, MS_IDENTITY)
MS_PACK_ANY(ms_pack_f32_f64, float, double, MS_IDENTITY)
MS_PACK_ANY(ms_pack_i8_i32, int8_t, int32_t, MS_IDENTITY)
MS_PACK_ANY(ms_pack_u8_i32, uint8_t, int32_t, MS_IDENTITY)
MS_PACK_ANY(ms_pack_i32_i32, int32_t, int32_t, MS_IDENTITY)
