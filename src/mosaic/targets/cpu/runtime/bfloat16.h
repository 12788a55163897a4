/* bfloat16 in its bits: the upper half of a float, round to nearest even. */
MS_INLINE float ms_bf16_to_f32(uint16_t x) { return ms_f32_from_bits((uint32_t)x << 16); }
MS_INLINE uint16_t ms_f32_to_bf16(float x) {
  uint32_t bits = ms_bits_of_f32(x);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return (uint16_t)ms_select_u32((bits & 0x7fffffffu) > 0x7f800000u, 0x7fffu, rounded); /* as CUDA: NaN is 0x7fff */
}
MS_INLINE float ms_round_bf16(float x) { return ms_bf16_to_f32(ms_f32_to_bf16(x)); }
