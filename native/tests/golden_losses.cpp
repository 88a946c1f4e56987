// Prints, as JSON, the losses of ten training steps of each model family, computed with libtorch's own modules and optimisers.
// Weights, inputs and targets follow closed formulae (fill, input, target below), which the test repeats in C#.
// tests/DeepSeek.Engine.Tests/Goldens/make.sh runs it and stores the result.
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>

namespace nn = torch::nn;
using torch::Tensor;

namespace {

struct ResidualImpl : nn::Module {
  explicit ResidualImpl(nn::Sequential inner) : body(register_module("body", inner)) {}
  Tensor forward(Tensor x) { return x + body->forward(x); }
  nn::Sequential body;
};
TORCH_MODULE(Residual);

nn::Sequential tabular(int inputs, int width, int hidden, int outputs, bool layer_norm) {
  const auto norm = [&](nn::Sequential& net) {
    if (layer_norm) net->push_back(nn::LayerNorm(nn::LayerNormOptions({width}))); else net->push_back(nn::BatchNorm1d(width));
  };
  const auto activation = [&](nn::Sequential& net) {
    if (layer_norm) net->push_back(nn::GELU()); else net->push_back(nn::ReLU());
  };
  nn::Sequential net(nn::Linear(inputs, width));
  for (int i = 0; i < 2; i++) {
    nn::Sequential body;
    norm(body);
    body->push_back(nn::Linear(width, hidden));
    activation(body);
    body->push_back(nn::Linear(hidden, width));
    net->push_back(Residual(body));
  }
  norm(net);
  activation(net);
  net->push_back(nn::Linear(width, outputs));
  return net;
}

nn::Sequential convolutional() {
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(1, 4, 3).padding(1).bias(false)), nn::BatchNorm2d(4), nn::MaxPool2d(2), nn::ReLU(),
                        nn::Conv2d(nn::Conv2dOptions(4, 8, 3).padding(1).bias(false)), nn::BatchNorm2d(8), nn::MaxPool2d(2), nn::ReLU(),
                        nn::Flatten(), nn::Linear(8 * 3 * 3, 16), nn::ReLU(), nn::Linear(16, 5));
}

// Parameter p of the net, in order: matrices and kernels 0.25 sin(1.7 i + p), scales 1 + 0.1 sin(i + p), offsets 0.05 cos(i + p).
void fill(nn::Sequential& net) {
  const torch::NoGradGuard no_grad;
  int p = 0;
  for (auto& named : net->named_parameters()) {
    auto flat = named.value().view(-1);
    const bool offset = named.key().find("bias") != std::string::npos;
    for (int64_t i = 0; i < flat.numel(); i++) {
      flat[i] = named.value().dim() >= 2 ? 0.25 * std::sin(1.7 * i + p) : offset ? 0.05 * std::cos(i + p) : 1 + 0.1 * std::sin(i + p);
    }
    p++;
  }
}

Tensor input(int step, at::IntArrayRef sizes) {
  auto x = torch::empty(sizes);
  auto flat = x.view(-1);
  for (int64_t i = 0; i < flat.numel(); i++) {
    const double t = i + 1000.0 * step;
    flat[i] = std::sin(0.37 * t) + 0.5 * std::cos(1.3 * t + 2);
  }
  return x;
}

Tensor classes(int step, int count) { return ((torch::arange(16) * 7) + step).remainder(count); }

Tensor numbers(int step) {
  auto y = torch::empty({16});
  for (int64_t i = 0; i < 16; i++) y[i] = std::sin(i + step);
  return y;
}

std::vector<torch::optim::OptimizerParamGroup> groups(nn::Sequential& net, std::function<std::unique_ptr<torch::optim::OptimizerOptions>(double)> options, double decay) {
  std::vector<Tensor> matrices, vectors;
  for (auto& p : net->parameters()) (p.dim() >= 2 ? matrices : vectors).push_back(p);
  return {{matrices, options(decay)}, {vectors, options(0)}};
}

void run(const char* name, nn::Sequential net, bool adamw, std::function<Tensor(int)> x, std::function<Tensor(Tensor, int)> loss, bool last) {
  fill(net);
  net->train();
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  if (adamw) {
    optimizer = std::make_unique<torch::optim::AdamW>(groups(net, [](double decay) { return std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(1e-2).weight_decay(decay)); }, 1e-2),
                                                      torch::optim::AdamWOptions(1e-2));
  } else {
    optimizer = std::make_unique<torch::optim::SGD>(groups(net, [](double decay) { return std::make_unique<torch::optim::SGDOptions>(torch::optim::SGDOptions(5e-2).momentum(0.9).nesterov(true).weight_decay(decay)); }, 1e-3),
                                                    torch::optim::SGDOptions(5e-2));
  }
  std::printf("  \"%s\": [", name);
  for (int step = 0; step < 10; step++) {
    optimizer->zero_grad();
    auto value = loss(net->forward(x(step)), step);
    value.backward();
    optimizer->step();
    std::printf("%s%.9g", step == 0 ? "" : ", ", value.item<double>());
  }
  std::printf("]%s\n", last ? "" : ",");
}

}  // namespace

int main() {
  namespace F = torch::nn::functional;
  std::printf("{\n  \"libtorch\": \"%s\",\n", TORCH_VERSION);
  run("tabular classification", tabular(8, 16, 32, 3, false), true, [](int step) { return input(step, {16, 8}); },
      [](Tensor y, int step) { return F::cross_entropy(y, classes(step, 3), F::CrossEntropyFuncOptions().weight(torch::tensor({1.f, 2.f, 0.5f})).label_smoothing(0.1)); }, false);
  run("tabular regression", tabular(8, 16, 32, 1, true), true, [](int step) { return input(step, {16, 8}); },
      [](Tensor y, int step) { return F::mse_loss(y.view(-1), numbers(step)); }, false);
  run("convolutional", convolutional(), false, [](int step) { return input(step, {16, 1, 12, 12}); },
      [](Tensor y, int step) { return F::cross_entropy(y, classes(step, 5)); }, true);
  std::printf("}\n");
}
