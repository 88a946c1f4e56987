// AdamW (arXiv 1711.05101, algorithm 2), its schedule-free form and SGD over lists of tensors. Floor of AdamW with bfloat16 parameters: 14 bytes read
// (gradient 2, master 4, moments 4 + 4) and 14 written (master, moments, rounded parameter 2) an element.
#include "optimizer/step.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace deepseek::optimizer {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = 4;
constexpr int kChunk = kThreads * kVector * 4;  // elements a block works on
constexpr int kEntries = 256;                   // a launch; the list travels as a kernel parameter of 16 KiB

struct List {
  Entry entries[kEntries];
  int32_t first_block[kEntries + 1];
  int32_t count;
};

template <class T> struct alignas(sizeof(T) * kVector) Pack { T lane[kVector]; };

__device__ float widen(float x) { return x; }
__device__ float widen(__half x) { return __half2float(x); }
__device__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ void narrow(float x, float& to) { to = x; }
__device__ void narrow(float x, __half& to) { to = __float2half_rn(x); }
__device__ void narrow(float x, __nv_bfloat16& to) { to = __float2bfloat16_rn(x); }

struct AdamWRule {
  AdamW k;
  static constexpr bool kWeights = true, kSecond = true, kThird = false;

  __device__ float operator()(float p, float g, float& m, float& v, float&, bool decays, const Control& c) const {
    m = k.beta1 * m + (1 - k.beta1) * g;
    v = k.beta2 * v + (1 - k.beta2) * g * g;
    const float kept = decays ? p * (1 - c.learning_rate * k.weight_decay) : p;
    return kept - c.learning_rate / c.correction1 * m / (sqrtf(v) / c.root + k.epsilon);
  }
};

// Schedule-free AdamW (arXiv 2405.15682, algorithm 1): the weights are made of the fast ones and their average, not read.
struct AdaptiveRule {
  Adaptive k;
  static constexpr bool kWeights = false, kSecond = true, kThird = true;

  __device__ float operator()(float, float g, float& z, float& v, float& x, bool decays, const Control& c) const {
    const float y = z + k.interpolation * (x - z);
    v = k.beta2 * v + (1 - k.beta2) * g * g;
    z -= c.learning_rate * ((decays ? c.weight_decay * y : 0) + g / (sqrtf(v) / c.root + k.epsilon));
    x += c.share * (z - x);
    return z + k.interpolation * (x - z);
  }
};

struct SgdRule {
  Sgd k;
  static constexpr bool kWeights = true, kSecond = false, kThird = false;

  __device__ float operator()(float p, float g, float& b, float&, float&, bool decays, const Control& c) const {
    const float d = decays ? g + k.weight_decay * p : g;
    b = k.momentum * b + d;
    const float direction = k.momentum == 0 ? d : k.nesterov ? d + k.momentum * b : b;
    return p - c.learning_rate * direction;
  }
};

__device__ bool aligned(const void* pointer, int bytes) { return (reinterpret_cast<uintptr_t>(pointer) & (bytes - 1)) == 0; }

template <class T, class Rule>
__global__ void __launch_bounds__(kThreads) update(const __grid_constant__ List list, Rule rule, const Control* control, const float* skip) {
  if (skip != nullptr && *skip != 0) return;
  const Control c = *control;
  int low = 0, high = list.count - 1;
  while (low < high) {  // the last entry whose first block is not after this one
    const int middle = (low + high + 1) / 2;
    if (list.first_block[middle] <= static_cast<int>(blockIdx.x)) low = middle; else high = middle - 1;
  }
  const Entry& e = list.entries[low];
  const int64_t begin = static_cast<int64_t>(blockIdx.x - list.first_block[low]) * kChunk;
  const int64_t end = begin + kChunk < e.elements ? begin + kChunk : e.elements;
  auto* parameter = static_cast<T*>(e.parameter);
  auto* master = e.master != nullptr ? e.master : static_cast<float*>(e.parameter);  // only float32 parameters have none
  const auto* gradient = static_cast<const T*>(e.gradient);
  const bool vectors = aligned(parameter, sizeof(T) * kVector) && aligned(gradient, sizeof(T) * kVector) && aligned(master, 16) && aligned(e.first, 16) && aligned(e.second, 16) && aligned(e.third, 16);
  const int64_t whole = vectors ? begin + (end - begin) / kVector * kVector : begin;
  for (int64_t i = begin + threadIdx.x * kVector; i < whole; i += kThreads * kVector) {
    const auto g = *reinterpret_cast<const Pack<T>*>(gradient + i);
    Pack<float> p{}, m{}, v{}, x{};
    if (Rule::kWeights) p = *reinterpret_cast<const Pack<float>*>(master + i);
    if (Rule::kThird) x = *reinterpret_cast<const Pack<float>*>(e.third + i);
    if (e.first != nullptr) m = *reinterpret_cast<const Pack<float>*>(e.first + i);
    if (Rule::kSecond) v = *reinterpret_cast<const Pack<float>*>(e.second + i);
    Pack<T> rounded;
#pragma unroll
    for (int lane = 0; lane < kVector; lane++) {
      p.lane[lane] = rule(p.lane[lane], widen(g.lane[lane]), m.lane[lane], v.lane[lane], x.lane[lane], e.decays != 0, c);
      narrow(p.lane[lane], rounded.lane[lane]);
    }
    *reinterpret_cast<Pack<float>*>(master + i) = p;
    if (e.first != nullptr) *reinterpret_cast<Pack<float>*>(e.first + i) = m;
    if (Rule::kSecond) *reinterpret_cast<Pack<float>*>(e.second + i) = v;
    if (Rule::kThird) *reinterpret_cast<Pack<float>*>(e.third + i) = x;
    if (e.master != nullptr) *reinterpret_cast<Pack<T>*>(parameter + i) = rounded;
  }
  for (int64_t i = whole + threadIdx.x; i < end; i += kThreads) {
    float m = e.first != nullptr ? e.first[i] : 0, v = Rule::kSecond ? e.second[i] : 0, x = Rule::kThird ? e.third[i] : 0;
    const float p = rule(master[i], widen(gradient[i]), m, v, x, e.decays != 0, c);
    master[i] = p;
    if (e.first != nullptr) e.first[i] = m;
    if (Rule::kSecond) e.second[i] = v;
    if (Rule::kThird) e.third[i] = x;
    if (e.master != nullptr) narrow(p, parameter[i]);
  }
}

template <class T, class Rule>
cudaError_t run(const Entry* entries, int count, Rule rule, const Control* control, const float* skip, cudaStream_t stream) {
  List list;
  for (int next = 0; next < count;) {
    int blocks = 0;
    for (list.count = 0; list.count < kEntries && next < count; next++) {
      if (entries[next].elements == 0) continue;
      list.entries[list.count] = entries[next];
      list.first_block[list.count++] = blocks;
      blocks += static_cast<int>((entries[next].elements + kChunk - 1) / kChunk);
    }
    if (blocks == 0) break;
    update<T><<<blocks, kThreads, 0, stream>>>(list, rule, control, skip);
    if (const auto error = cudaGetLastError(); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <class Rule>
int run(Element element, const Entry* entries, int count, Rule rule, const Control* control, const float* skip, cudaStream_t stream) {
  switch (element) {
    case Element::kFloat32: return run<float>(entries, count, rule, control, skip, stream);
    case Element::kFloat16: return run<__half>(entries, count, rule, control, skip, stream);
    default: return run<__nv_bfloat16>(entries, count, rule, control, skip, stream);
  }
}

__global__ void rate_kernel(Control* control, float learning_rate) { control->learning_rate = learning_rate; }

__global__ void adaptive_kernel(Control* control, float learning_rate, float weight_decay, float share, float limit) {
  control->learning_rate = learning_rate;
  control->weight_decay = weight_decay;
  control->share = share;
  control->limit = limit;
}

__global__ void count_kernel(Control* control, const float* skip, double beta1, double beta2) {
  if (skip != nullptr && *skip != 0) return;
  const float steps = control->steps + 1;
  control->steps = steps;
  control->correction1 = static_cast<float>(1 - pow(beta1, static_cast<double>(steps)));
  control->root = static_cast<float>(sqrt(1 - pow(beta2, static_cast<double>(steps))));
}

}  // namespace

void set_learning_rate(Control* control, float learning_rate, CUstream_st* stream) { rate_kernel<<<1, 1, 0, stream>>>(control, learning_rate); }

void set_adaptive(Control* control, float learning_rate, float weight_decay, float share, float limit, CUstream_st* stream) {
  adaptive_kernel<<<1, 1, 0, stream>>>(control, learning_rate, weight_decay, share, limit);
}

void count_step(Control* control, const float* skip, double beta1, double beta2, CUstream_st* stream) {
  count_kernel<<<1, 1, 0, stream>>>(control, skip, beta1, beta2);
}

int adamw(Element element, const Entry* entries, int count, const AdamW& k, const Control* control, const float* skip, CUstream_st* stream) {
  return run(element, entries, count, AdamWRule{k}, control, skip, stream);
}

int adaptive(Element element, const Entry* entries, int count, const Adaptive& k, const Control* control, const float* skip, CUstream_st* stream) {
  return run(element, entries, count, AdaptiveRule{k}, control, skip, stream);
}

int sgd(Element element, const Entry* entries, int count, const Sgd& k, const Control* control, const float* skip, CUstream_st* stream) {
  return run(element, entries, count, SgdRule{k}, control, skip, stream);
}

}  // namespace deepseek::optimizer
