/* needs: bfloat16 fold math */
/* softmax_rows */
static __attribute__((noinline)) void ms_block_0(const uint16_t *restrict x, uint16_t *restrict y, int bx, float *restrict score) {
  float largest[4] __attribute__((aligned(64)));
  float total[4] __attribute__((aligned(64)));
  const int split = ms_clamp_index(6 - (bx * 4), 0, 4);
  for (int i = 0; i < split; i++) {
    for (int j = 0; j < 100; j++) {
      score[i * 128 + j] = ms_bf16_to_f32(x[(int64_t)((bx * 4) + i) * 100 + j]);
    }
    for (int j = 100; j < 128; j++) {
      score[i * 128 + j] = ms_round_bf16((__builtin_inff() * (-1.0f)));
    }
  }
  for (int i = split; i < 4; i++) {
    for (int j = 0; j < 128; j++) {
      score[i * 128 + j] = ms_round_bf16((__builtin_inff() * (-1.0f)));
    }
  }
  for (int i = 0; i < 4; i++) {
    largest[i] = ms_fold_max(&score[i * 128], 128, (-__builtin_inff()), (-__builtin_inff()));
  }
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 128; j++) {
      score[i * 128 + j] = ms_exp_f32((score[i * 128 + j] - largest[i]));
    }
  }
  for (int i = 0; i < 4; i++) {
    total[i] = ms_fold_sum(&score[i * 128], 128, 0.0f, 0.0f);
  }
  const int split_1 = ms_clamp_index(6 - (bx * 4), 0, 4);
  for (int i = 0; i < split_1; i++) {
    for (int j = 0; j < 100; j++) {
      y[(int64_t)((bx * 4) + i) * 100 + j] = ms_f32_to_bf16((score[i * 128 + j] / total[i]));
    }
  }
}

int mosaic_run(void *const *tensors, const int64_t *integers, const double *floats) {
  (void)tensors; (void)integers; (void)floats;
  int failed = 0;
  {
    uint16_t *const x = tensors[0];
    uint16_t *const y = tensors[1];
    #pragma omp parallel
    {
      char *scratch = aligned_alloc(64, 2048);
      if (!scratch) {
        #pragma omp atomic write
        failed = 1;
      }
      #pragma omp for schedule(dynamic, 1)
      for (int bx = 0; bx < 2; bx++)
        if (scratch) ms_block_0(x, y, bx, (float *)(scratch + 0));
      free(scratch);
    }
  }
  return failed;
}
