/* A matrix of any type and strides written densely, row by row, in the type a product is computed in;
   rows padded with zeros to `width` elements. */
#define MS_IDENTITY(x) (x)
#define MS_PACK(NAME, FROM, TO, CONVERT)                                                                          \
  static __attribute__((unused)) void NAME(int64_t rows, int64_t columns, const FROM *restrict from, int64_t row, \
                                           int64_t column, TO *restrict to, int64_t width) {                      \
    for (int64_t r = 0; r < rows; r++) {                                                                          \
      if (column == 1)                                                                                            \
        for (int64_t c = 0; c < columns; c++) to[r * width + c] = (TO)CONVERT(from[r * row + c]);                 \
      else                                                                                                        \
        for (int64_t c = 0; c < columns; c++) to[r * width + c] = (TO)CONVERT(from[r * row + c * column]);        \
      for (int64_t c = columns; c < width; c++) to[r * width + c] = 0;                                            \
    }                                                                                                             \
  }
MS_PACK(ms_pack_f32_f32, float, float, MS_IDENTITY)
MS_PACK(ms_pack_f16_f32, uint16_t, float, ms_f16_to_f32)
MS_PACK(ms_pack_bf16_f32, uint16_t, float, ms_bf16_to_f32)
MS_PACK(ms_pack_e4m3_f32, uint8_t, float, ms_e4m3_to_f32)
MS_PACK(ms_pack_e5m2_f32, uint8_t, float, ms_e5m2_to_f32)
MS_PACK(ms_pack_i8_f32, int8_t, float, MS_IDENTITY)
MS_PACK(ms_pack_f64_f64, double, double, MS_IDENTITY)
MS_PACK(ms_pack_f32_f64, float, double, MS_IDENTITY)
MS_PACK(ms_pack_i8_i32, int8_t, int32_t, MS_IDENTITY)
MS_PACK(ms_pack_u8_i32, uint8_t, int32_t, MS_IDENTITY)
MS_PACK(ms_pack_i32_i32, int32_t, int32_t, MS_IDENTITY)
