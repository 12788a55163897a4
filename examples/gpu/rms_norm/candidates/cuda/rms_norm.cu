// A block a row, eight halves a load; up to 8192 columns stay in registers between the two passes.
#include <cuda_fp16.h>
#include <stdint.h>

constexpr int THREADS = 256, MOST = 4;

__global__ void __launch_bounds__(THREADS) rms_norm_rows(const uint4 *x, const uint4 *w, uint4 *y, int vectors, float columns, float eps) {
  __shared__ float part[THREADS / 32];
  const uint4 *row = x + (int64_t)blockIdx.x * vectors;
  uint4 held[MOST];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < MOST; i++) {
    int place = i * THREADS + threadIdx.x;
    if (place >= vectors) break;
    held[i] = row[place];
    const __half2 *pair = (const __half2 *)&held[i];
    for (int j = 0; j < 4; j++) {
      float2 v = __half22float2(pair[j]);
      sum += v.x * v.x + v.y * v.y;
    }
  }
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < THREADS / 32; i++) sum += part[i];
  float scale = rsqrtf(sum / columns + eps);
#pragma unroll
  for (int i = 0; i < MOST; i++) {
    int place = i * THREADS + threadIdx.x;
    if (place >= vectors) break;
    uint4 weight = w[place], out;
    const __half2 *pair = (const __half2 *)&held[i], *by = (const __half2 *)&weight;
    __half2 *to = (__half2 *)&out;
    for (int j = 0; j < 4; j++) {
      float2 v = __half22float2(pair[j]), f = __half22float2(by[j]);
      to[j] = __floats2half2_rn(v.x * scale * f.x, v.y * scale * f.y);
    }
    y[(int64_t)blockIdx.x * vectors + place] = out;
  }
}

extern "C" int rms_norm(const void *x, const void *w, void *y, int64_t m, int64_t n, double eps, void *stream) {
  if (n % 8 || n > 8 * MOST * THREADS) return 1;
  rms_norm_rows<<<(unsigned)m, THREADS, 0, (cudaStream_t)stream>>>((const uint4 *)x, (const uint4 *)w, (uint4 *)y, (int)(n / 8), (float)n,
                                                                   (float)eps);
  return (int)cudaGetLastError();
}
