// The C++ side of the step benchmark: an MLP 784-128-10 at batch 32, written as libtorch's own tutorials write it. For each line
// "<sgd|adamw> <steps>" on standard input it runs so many steps and prints microseconds a step. Its argument is the device (cpu).
#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Case {
  torch::nn::Sequential net{torch::nn::Linear(784, 128), torch::nn::ReLU(), torch::nn::Linear(128, 10)};
  std::vector<torch::Tensor> parameters = net->parameters();
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  torch::Tensor x, y;

  Case(bool sgd, const torch::Device& device) : x(torch::randn({32, 784}, device)), y(torch::arange(32, device).remainder(10)) {
    net->to(device);
    if (sgd) {
      optimizer = std::make_unique<torch::optim::SGD>(parameters, torch::optim::SGDOptions(1e-3).momentum(0.9));
    } else {
      optimizer = std::make_unique<torch::optim::AdamW>(parameters, torch::optim::AdamWOptions(1e-3));
    }
  }

  void step() {
    auto loss = torch::nn::functional::cross_entropy(net->forward(x), y);
    loss.backward();
    optimizer->step();
    // What zero_grad does by default from 2.0 on; 1.13's fills with zeros, which costs more.
    for (auto& parameter : parameters) parameter.mutable_grad().reset();
  }
};

}  // namespace

int main(int count, char** arguments) {
  torch::set_num_threads(1);
  torch::manual_seed(1);
  const torch::Device device(count > 1 ? arguments[1] : "cpu");
  Case sgd(true, device), adamw(false, device);
  std::string name;
  long steps = 0;
  while (std::cin >> name >> steps) {
    auto& chosen = name == "sgd" ? sgd : adamw;
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < steps; i++) chosen.step();
    if (device.is_cuda()) torch::cuda::synchronize();
    const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("%.3f\n", elapsed.count() / static_cast<double>(steps));
    std::fflush(stdout);
  }
}
