/* C += A B for small dense tiles. A block of rows by two vectors of columns of C stays in registers while k
   runs; each step takes two vectors of B and one broadcast element of A for every row. */
#define MS_ROWS (MS_VECTOR == 64 ? 8 : 4) /* with two vectors a row, half of the registers */

#define MS_GEMM_BLOCK(NAME, TYPE, VECTOR, ROWS, COLUMNS)                                                           \
  MS_INLINE void NAME(int64_t depth, const TYPE *restrict a, int64_t lda, const TYPE *restrict b, int64_t ldb,     \
                      TYPE *restrict c, int64_t ldc, int clear) {                                                  \
    enum { LANES = MS_VECTOR / sizeof(TYPE) };                                                                     \
    VECTOR sum[ROWS][COLUMNS];                                                                                     \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                                        \
      _Pragma("GCC unroll 4") for (int v = 0; v < COLUMNS; v++) {                                                  \
        if (clear) sum[r][v] = (VECTOR){0};                                                                        \
        else __builtin_memcpy(&sum[r][v], c + r * ldc + v * LANES, MS_VECTOR);                                     \
      }                                                                                                            \
    for (int64_t k = 0; k < depth; k++) {                                                                          \
      VECTOR right[COLUMNS];                                                                                       \
      _Pragma("GCC unroll 4") for (int v = 0; v < COLUMNS; v++)                                                    \
        __builtin_memcpy(&right[v], b + k * ldb + v * LANES, MS_VECTOR);                                           \
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                                      \
        _Pragma("GCC unroll 4") for (int v = 0; v < COLUMNS; v++) sum[r][v] += a[r * lda + k] * right[v];          \
    }                                                                                                              \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                                        \
      _Pragma("GCC unroll 4") for (int v = 0; v < COLUMNS; v++)                                                    \
        __builtin_memcpy(c + r * ldc + v * LANES, &sum[r][v], MS_VECTOR);                                          \
  }

/* All rows of a strip of COLUMNS vectors; the last few in threes and ones. */
#define MS_GEMM_STRIP(NAME, TYPE, VECTOR, COLUMNS)                                                                 \
  MS_GEMM_BLOCK(NAME##_rows, TYPE, VECTOR, MS_ROWS, COLUMNS)                                                       \
  MS_GEMM_BLOCK(NAME##_few, TYPE, VECTOR, 3, COLUMNS)                                                              \
  MS_GEMM_BLOCK(NAME##_row, TYPE, VECTOR, 1, COLUMNS)                                                              \
  static void NAME(int64_t rows, int64_t depth, const TYPE *restrict a, int64_t lda, const TYPE *restrict b,       \
                   int64_t ldb, TYPE *restrict c, int64_t ldc, int clear) {                                        \
    int64_t r = 0;                                                                                                 \
    for (; r + MS_ROWS <= rows; r += MS_ROWS) NAME##_rows(depth, a + r * lda, lda, b, ldb, c + r * ldc, ldc, clear); \
    for (; r + 3 <= rows; r += 3) NAME##_few(depth, a + r * lda, lda, b, ldb, c + r * ldc, ldc, clear);            \
    for (; r < rows; r++) NAME##_row(depth, a + r * lda, lda, b, ldb, c + r * ldc, ldc, clear);                    \
  }

/* B has rows of ldb elements, readable up to the next whole vector. */
#define MS_GEMM(TAG, TYPE)                                                                                         \
  typedef TYPE ms_vector_##TAG __attribute__((vector_size(MS_VECTOR)));                                            \
  MS_GEMM_STRIP(ms_strip2_##TAG, TYPE, ms_vector_##TAG, 2)                                                         \
  MS_GEMM_STRIP(ms_strip1_##TAG, TYPE, ms_vector_##TAG, 1)                                                         \
  static __attribute__((unused)) void ms_gemm_##TAG(int64_t rows, int64_t columns, int64_t depth,                  \
      const TYPE *restrict a, int64_t lda, const TYPE *restrict b, int64_t ldb, TYPE *restrict c, int64_t ldc,     \
      int clear) {                                                                                                 \
    enum { LANES = MS_VECTOR / sizeof(TYPE) };                                                                     \
    int64_t n = 0;                                                                                                 \
    for (; n + 2 * LANES <= columns; n += 2 * LANES) ms_strip2_##TAG(rows, depth, a, lda, b + n, ldb, c + n, ldc, clear); \
    for (; n + LANES <= columns; n += LANES) ms_strip1_##TAG(rows, depth, a, lda, b + n, ldb, c + n, ldc, clear);  \
    if (n == columns) return;                                                                                      \
    for (int64_t r = 0; r < rows; r++) { /* the last columns, in a vector that C need not have room for */         \
      TYPE edge[LANES] = {0};                                                                                      \
      for (int64_t j = n; j < columns; j++) edge[j - n] = clear ? 0 : c[r * ldc + j];                              \
      ms_strip1_##TAG##_row(depth, a + r * lda, lda, b + n, ldb, edge, LANES, 0);                                  \
      for (int64_t j = n; j < columns; j++) c[r * ldc + j] = edge[j - n];                                          \
    }                                                                                                              \
  }
MS_GEMM(f32, float)
MS_GEMM(f64, double)
MS_GEMM(i32, int32_t)
