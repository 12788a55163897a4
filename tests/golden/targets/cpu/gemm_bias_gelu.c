/* needs: convert gemm half math */
/* gemm_bias_gelu */
static __attribute__((noinline)) void ms_block_0(const uint16_t *restrict A, const uint16_t *restrict B, const uint16_t *restrict bias, uint16_t *restrict C, int bx, int by, uint16_t *restrict a, uint16_t *restrict b, float *restrict c, char *restrict pack) {
  for (int i = 0; i < 32; i++) {
    for (int j = 0; j < 64; j++) {
      c[i * 64 + j] = 0.0f;
    }
  }
  for (int k = 0; k < 2; k++) {
    const int split = ms_clamp_index(70 - (by * 32), 0, 32);
    for (int i = 0; i < split; i++) {
      const int split_1 = ms_clamp_index(50 - (k * 32), 0, 32);
      for (int j = 0; j < split_1; j++) {
        a[i * 32 + j] = A[(int64_t)((by * 32) + i) * 50 + ((k * 32) + j)];
      }
      for (int j = split_1; j < 32; j++) {
        a[i * 32 + j] = ms_f32_to_f16(0.0f);
      }
    }
    for (int i = split; i < 32; i++) {
      for (int j = 0; j < 32; j++) {
        a[i * 32 + j] = ms_f32_to_f16(0.0f);
      }
    }
    const int split_1 = ms_clamp_index(50 - (k * 32), 0, 32);
    for (int i = 0; i < split_1; i++) {
      const int split_2 = ms_clamp_index(100 - (bx * 64), 0, 64);
      for (int j = 0; j < split_2; j++) {
        b[i * 64 + j] = B[(int64_t)((k * 32) + i) * 100 + ((bx * 64) + j)];
      }
      for (int j = split_2; j < 64; j++) {
        b[i * 64 + j] = ms_f32_to_f16(0.0f);
      }
    }
    for (int i = split_1; i < 32; i++) {
      for (int j = 0; j < 64; j++) {
        b[i * 64 + j] = ms_f32_to_f16(0.0f);
      }
    }
    {
      ms_pack_f16_f32(32, 32, &a[0], 32, 1, (float *)(pack + 0), 32, 32);
      ms_pack_f16_f32(32, 64, &b[0], 64, 1, (float *)(pack + 4096), 64, 64);
      ms_gemm_f32(32, 64, 32, (float *)(pack + 0), 32, (float *)(pack + 4096), 64, &c[0], 64, 0);
    }
  }
  for (int i = 0; i < 32; i++) {
    const int split = ms_clamp_index(100 - (bx * 64), 0, 64);
    for (int j = 0; j < split; j++) {
      const float x = c[i * 64 + j] + ms_f16_to_f32(bias[((bx * 64) + j)]);
      c[i * 64 + j] = (0.5f * x) * (1.0f + ms_tanh_f32((0.7978845834732056f * (x + (((0.044714998453855515f * x) * x) * x)))));
    }
    for (int j = split; j < 64; j++) {
      const float x = c[i * 64 + j] + 0.0f;
      c[i * 64 + j] = (0.5f * x) * (1.0f + ms_tanh_f32((0.7978845834732056f * (x + (((0.044714998453855515f * x) * x) * x)))));
    }
  }
  const int split = ms_clamp_index(70 - (by * 32), 0, 32);
  for (int i = 0; i < split; i++) {
    const int split_1 = ms_clamp_index(100 - (bx * 64), 0, 64);
    { const int j = 0; ms_narrow_f16(split_1 - j, &c[i * 64 + j], &C[(int64_t)((by * 32) + i) * 100 + ((bx * 64) + j)]); }
  }
}

int mosaic_run(void *const *tensors, const int64_t *integers, const double *floats) {
  (void)tensors; (void)integers; (void)floats;
  int failed = 0;
  {
    uint16_t *const A = tensors[0];
    uint16_t *const B = tensors[1];
    uint16_t *const bias = tensors[2];
    uint16_t *const C = tensors[3];
    #pragma omp parallel
    {
      char *scratch = aligned_alloc(64, 26624);
      if (!scratch) {
        #pragma omp atomic write
        failed = 1;
      }
      #pragma omp for collapse(2) schedule(dynamic, 1)
      for (int bx = 0; bx < 2; bx++)
        for (int by = 0; by < 3; by++)
          if (scratch) ms_block_0(A, B, bias, C, bx, by, (uint16_t *)(scratch + 0), (uint16_t *)(scratch + 2048), (float *)(scratch + 6144), scratch + 14336);
      free(scratch);
    }
  }
  return failed;
}
