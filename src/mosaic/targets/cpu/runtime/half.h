/* float16 in its bits, to and from float, round to nearest even.
   Integer arithmetic on purpose: gcc 12 vectorises this, and does not vectorise conversions of its _Float16. */
MS_INLINE float ms_f16_to_f32(uint16_t half) {
  uint32_t magnitude = (uint32_t)(half & 0x7fffu) << 13;
  uint32_t exponent = magnitude & 0x0f800000u;
  uint32_t normal = magnitude + 0x38000000u;                            /* exponent bias 15 -> 127 */
  uint32_t special = magnitude + 0x70000000u;                           /* infinity, NaN: exponent 255 */
  uint32_t subnormal = ms_bits_of_f32(ms_f32_from_bits(magnitude + 0x38800000u) - 0x1p-14f);
  uint32_t bits = ms_select_u32(exponent == 0, subnormal, normal);
  bits = ms_select_u32(exponent == 0x0f800000u, special, bits);
  return ms_f32_from_bits(bits | (uint32_t)(half & 0x8000u) << 16);
}
MS_INLINE uint16_t ms_f32_to_f16(float x) {
  uint32_t bits = ms_bits_of_f32(x), sign = bits & 0x80000000u;
  bits ^= sign;
  uint32_t normal = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  uint32_t subnormal = ms_bits_of_f32(ms_f32_from_bits(bits) + 0.5f) - 0x3f000000u; /* 0.5 has the spacing 2^-24 */
  uint32_t special = ms_select_u32(bits > 0x7f800000u, 0x7fffu, 0x7c00u);           /* as CUDA: NaN is 0x7fff */
  uint32_t half = ms_select_u32(bits < 0x38800000u, subnormal, normal);
  half = ms_select_u32(bits >= 0x47800000u, special, half);
  return (uint16_t)(half | sign >> 16);
}
MS_INLINE float ms_round_f16(float x) { return ms_f16_to_f32(ms_f32_to_f16(x)); }
