// Optimiser updates of many tensors in one launch. Parameters in half precision have float32 masters: the update reads the
// gradient and the float32 state once and writes the state, the master and the rounded parameter once.
#pragma once

#include <cstdint>

struct CUstream_st;

namespace deepseek::optimizer {

enum class Element { kFloat32, kFloat16, kBFloat16 };

// One tensor; all pointers go to device memory of the same dense layout.
struct Entry {
  void* parameter;
  const void* gradient;  // of the parameter's element type
  float* master;         // null for float32 parameters
  float* first;          // AdamW: running mean; SGD: momentum buffer or null; the adaptive rule's fast weights
  float* second;         // running mean of squares; SGD: null
  float* third;          // the adaptive rule's average; elsewhere null
  int64_t elements;
  int32_t decays;        // weight decay falls on it
};

// Eight floats on the device that a recorded step reads at every replay.
struct Control {
  float learning_rate;
  float steps;        // taken so far
  float correction1;  // 1 - beta1^steps
  float root;         // sqrt(1 - beta2^steps)
  float weight_decay, share;  // of the adaptive rule, which changes them between steps
  float limit, norm;          // of its gradients
};

struct AdamW {
  float weight_decay, beta1, beta2, epsilon;
};

struct Adaptive {
  float beta2, epsilon, interpolation;
};

struct Sgd {
  float weight_decay, momentum;
  bool nesterov;
};

// Sets the learning rate from the host without waiting.
void set_learning_rate(Control* control, float learning_rate, CUstream_st* stream);
// The same with all that the adaptive rule changes between steps.
void set_adaptive(Control* control, float learning_rate, float weight_decay, float share, float limit, CUstream_st* stream);
// Counts a step, unless *skip (may be null) is not zero, and renews the corrections.
void count_step(Control* control, const float* skip, double beta1, double beta2, CUstream_st* stream);
// Update all entries, of one element type, unless *skip is not zero. Return a cudaError_t.
int adamw(Element element, const Entry* entries, int count, const AdamW& k, const Control* control, const float* skip, CUstream_st* stream);
int adaptive(Element element, const Entry* entries, int count, const Adaptive& k, const Control* control, const float* skip, CUstream_st* stream);
int sgd(Element element, const Entry* entries, int count, const Sgd& k, const Control* control, const float* skip, CUstream_st* stream);

}  // namespace deepseek::optimizer
