/* The 8-bit floats in their bits. To float exactly; from float to nearest even, saturated at the largest
   finite number, infinities too, as CUDA's cvt.rn.satfinite does; NaN becomes 0x7f in both. */
MS_INLINE float ms_e4m3_to_f32(uint8_t x) {
  uint32_t magnitude = x & 0x7fu;
  uint32_t normal = (magnitude << 20) + 0x3c000000u;                            /* exponent bias 7 -> 127 */
  uint32_t subnormal = ms_bits_of_f32((float)(int32_t)magnitude * 0x1p-9f);
  uint32_t bits = ms_select_u32(magnitude < 8u, subnormal, normal);
  bits = ms_select_u32(magnitude == 0x7fu, 0x7fc00000u, bits);
  return ms_f32_from_bits(bits | (uint32_t)(x & 0x80u) << 24);
}
MS_INLINE uint8_t ms_f32_to_e4m3(float x) {
  uint32_t bits = ms_bits_of_f32(x), sign = bits & 0x80000000u;
  bits ^= sign;
  uint32_t finite = ms_select_u32(bits > 0x43e00000u, 0x43e00000u, bits);       /* 448 */
  uint32_t normal = (finite - 0x3c000000u + 0x7ffffu + ((finite >> 20) & 1u)) >> 20;
  uint32_t subnormal = ms_bits_of_f32(ms_f32_from_bits(finite) + 16384.0f) - 0x46800000u; /* 2^14 has the spacing 2^-9 */
  uint32_t result = ms_select_u32(finite < 0x3c800000u, subnormal, normal) | sign >> 24;
  return (uint8_t)ms_select_u32(bits > 0x7f800000u, 0x7fu, result);
}
MS_INLINE float ms_e5m2_to_f32(uint8_t x) {
  uint32_t magnitude = x & 0x7fu;
  uint32_t normal = (magnitude << 21) + 0x38000000u;                            /* exponent bias 15 -> 127 */
  uint32_t subnormal = ms_bits_of_f32((float)(int32_t)magnitude * 0x1p-16f);
  uint32_t bits = ms_select_u32(magnitude < 4u, subnormal, normal);
  bits = ms_select_u32(magnitude >= 0x7cu, (magnitude << 21) + 0x70000000u, bits);
  return ms_f32_from_bits(bits | (uint32_t)(x & 0x80u) << 24);
}
MS_INLINE uint8_t ms_f32_to_e5m2(float x) {
  uint32_t bits = ms_bits_of_f32(x), sign = bits & 0x80000000u;
  bits ^= sign;
  uint32_t finite = ms_select_u32(bits > 0x47600000u, 0x47600000u, bits);       /* 57344 */
  uint32_t normal = (finite - 0x38000000u + 0xfffffu + ((finite >> 21) & 1u)) >> 21;
  uint32_t subnormal = ms_bits_of_f32(ms_f32_from_bits(finite) + 128.0f) - 0x43000000u; /* 2^7 has the spacing 2^-16 */
  uint32_t result = ms_select_u32(finite < 0x38800000u, subnormal, normal) | sign >> 24;
  return (uint8_t)ms_select_u32(bits > 0x7f800000u, 0x7fu, result);
}
MS_INLINE float ms_round_e4m3(float x) { return ms_e4m3_to_f32(ms_f32_to_e4m3(x)); }
MS_INLINE float ms_round_e5m2(float x) { return ms_e5m2_to_f32(ms_f32_to_e5m2(x)); }
