// What ONNX Runtime calls: RegisterCustomOps, and the functions of the operator. None lets an exception out; what goes wrong is a status.
#include "onnx/block_sparse_attention.h"
#include "onnx/threads.h"

#include <array>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>

namespace deepseek::ort {
namespace {

enum Input : size_t { kQ = 0, kK = 1, kV = 2, kKeyLengths = 3, kInputs = 4 };
constexpr size_t kRank = 4;
constexpr const char* kNames[kInputs] = {"q", "k", "v", "key_lengths"};

template <class Body>
Status* guarded(Api api, Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Failure& failure) {
    return failure.status;
  } catch (const std::invalid_argument& fault) {
    return api.create_status(kInvalidArgument, fault.what());
  } catch (const std::bad_alloc&) {
    return api.create_status(kRuntimeException, "BlockSparseAttention: there is not enough memory.");
  } catch (const std::exception& fault) {
    return api.create_status(kFail, fault.what());
  } catch (...) {
    return api.create_status(kFail, "BlockSparseAttention: an unknown error.");
  }
}

using Sizes = std::array<int64_t, 4>;

std::string written(const int64_t* sizes, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; i++) text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

[[noreturn]] void refuse(Input input, const int64_t* sizes, size_t rank, const std::string& wanted) {
  throw std::invalid_argument(std::string("BlockSparseAttention: the input '") + kNames[input] + "' is " + written(sizes, rank) + "; it must be " + wanted + ".");
}

class Kernel {
 public:
  Kernel(Api api, const KernelInfo* info) : api_(api), policy_(Policy::read(api, info)) {}

  Status* compute(KernelContext* context) const noexcept {
    return guarded(api_, [&] { run(context); });
  }

 private:
  // Address and sizes of an input, of which `rank` are wanted.
  const void* read(const KernelContext* context, Input input, size_t wanted, const char* layout, int64_t* sizes) const {
    const Value* value = nullptr;
    check(api_.input(context, input, &value));
    if (value == nullptr) {
      if (input == kKeyLengths) return nullptr;
      throw std::invalid_argument(std::string("BlockSparseAttention: the input '") + kNames[input] + "' is missing.");
    }
    TensorInfo* raw = nullptr;
    check(api_.info(value, &raw));
    const auto release = [this](TensorInfo* info) { api_.release(info); };
    const std::unique_ptr<TensorInfo, decltype(release)> info(raw, release);
    size_t rank = 0;
    check(api_.rank(info.get(), &rank));
    std::array<int64_t, 16> all{};
    if (rank != wanted) {
      if (rank <= all.size()) check(api_.sizes(info.get(), all.data(), rank));
      refuse(input, all.data(), rank <= all.size() ? rank : all.size(), layout);
    }
    check(api_.sizes(info.get(), sizes, rank));
    void* data = nullptr;
    check(api_.data(const_cast<Value*>(value), &data));
    return data;
  }

  void run(KernelContext* context) const {
    Sizes q{}, k{}, v{};
    int64_t lengths = 0;
    Attention a{};
    a.q = static_cast<const float*>(read(context, kQ, 4, "[N, H, T, D]", q.data()));
    a.k = static_cast<const float*>(read(context, kK, 4, "[N, Hkv, S, D]", k.data()));
    a.v = static_cast<const float*>(read(context, kV, 4, "[N, Hkv, S, D]", v.data()));
    size_t inputs = 0;
    check(api_.input_count(context, &inputs));
    if (inputs > kKeyLengths) a.key_lengths = static_cast<const int64_t*>(read(context, kKeyLengths, 1, "[N]", &lengths));

    if (k[0] != q[0] || k[3] != q[3]) refuse(kK, k.data(), 4, "[N, Hkv, S, D] with N and D of 'q', " + written(q.data(), 4));
    if (k[1] == 0 || q[1] % k[1] != 0) refuse(kK, k.data(), 4, "[N, Hkv, S, D] with Hkv a divisor of the " + std::to_string(q[1]) + " heads of 'q'");
    if (v != k) refuse(kV, v.data(), 4, "like 'k', " + written(k.data(), 4));
    if (a.key_lengths != nullptr && lengths != q[0]) refuse(kKeyLengths, &lengths, 1, "[" + std::to_string(q[0]) + "]");
    // Rows and blocks are counted in 32 bits.
    constexpr int64_t kMostRows = (int64_t{1} << 31) - 1;
    if (q[2] > kMostRows || k[2] > kMostRows) refuse(q[2] > kMostRows ? kQ : kK, q[2] > kMostRows ? q.data() : k.data(), 4, "shorter than 2^31 rows");

    Value* output = nullptr;
    check(api_.output(context, 0, q.data(), q.size(), &output));
    void* data = nullptr;
    check(api_.data(output, &data));
    a.out = static_cast<float*>(data);
    a.batch = q[0], a.heads = q[1], a.queries = q[2], a.dim = q[3], a.kv_heads = k[1], a.keys = k[2];
    const Threads threads(api_, context);
    a.compute(policy_);
  }

  Api api_;
  Policy policy_;
};

struct Operator : CustomOp {
  Api api{nullptr};

  Operator() : CustomOp{} {
    version = kVersion;
    name = [](const CustomOp*) noexcept { return "BlockSparseAttention"; };
    provider = [](const CustomOp*) noexcept -> const char* { return nullptr; };  // the CPU
    input_count = [](const CustomOp*) noexcept -> size_t { return kInputs; };
    input_type = [](const CustomOp*, size_t input) noexcept -> int { return input == kKeyLengths ? kInt64 : kFloat; };
    input_characteristic = [](const CustomOp*, size_t input) noexcept -> int { return input == kKeyLengths ? kOptional : kRequired; };
    input_memory = [](const CustomOp*, size_t) noexcept -> int { return kDefaultMemory; };
    output_count = [](const CustomOp*) noexcept -> size_t { return 1; };
    output_type = [](const CustomOp*, size_t) noexcept -> int { return kFloat; };
    output_characteristic = [](const CustomOp*, size_t) noexcept -> int { return kRequired; };
    variadic_input_least = variadic_output_least = variadic_input_alike = variadic_output_alike = [](const CustomOp*) noexcept { return 1; };
    first_version = [](const CustomOp*) noexcept { return 1; };
    last_version = [](const CustomOp*) noexcept { return 1; };
    create_kernel_v2 = [](const CustomOp*, const void* table, const KernelInfo* info, void** kernel) noexcept {
      const Api api(table);
      return guarded(api, [&] { *kernel = new Kernel(api, info); });
    };
    compute_v2 = [](void* kernel, KernelContext* context) noexcept { return static_cast<const Kernel*>(kernel)->compute(context); };
    destroy_kernel = [](void* kernel) noexcept { delete static_cast<Kernel*>(kernel); };
    // The output has the shape of q, where all of that is known by number or name.
    infer_shape = [](const CustomOp* self, ShapeContext* context) noexcept {
      const Api api = static_cast<const Operator*>(self)->api;
      return guarded(api, [&] {
        TensorInfo* info = nullptr;
        size_t rank = 0;
        check(api.input_shape(context, kQ, &info));
        check(api.rank(info, &rank));
        // ONNX Runtime tells a shape that it does not know as one of rank 0, and takes a size without a name that is not known for a size of -1.
        if (rank != kRank) return;
        int64_t sizes[kRank];
        const char* names[kRank];
        check(api.sizes(info, sizes, kRank));
        check(api.size_names(info, names, kRank));
        for (size_t i = 0; i < kRank; i++) {
          if (sizes[i] < 0 && (names[i] == nullptr || *names[i] == 0)) return;
        }
        check(api.set_output_shape(context, 0, info));
      });
    };
  }
};

// Sessions hold on to the domain and the operator for as long as they live: neither is ever given back.
CustomOpDomain* domain_of(Api api) {
  static std::mutex mutex;
  static CustomOpDomain* domain = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (domain == nullptr) {
    static Operator op;
    op.api = api;
    CustomOpDomain* made = nullptr;
    check(api.create_domain("ai.deepseek", &made));
    check(api.add(made, &op));
    domain = made;
  }
  return domain;
}

}  // namespace
}  // namespace deepseek::ort

// Makes the operators known to sessions of these options (SessionOptions.RegisterCustomOpLibrary). ONNX Runtime before 1.17 is refused.
extern "C" __attribute__((visibility("default"))) deepseek::ort::Status* RegisterCustomOps(deepseek::ort::SessionOptions* options, const deepseek::ort::ApiBase* base) noexcept {
  using namespace deepseek::ort;
  if (const void* table = base->get_api(kVersion)) {
    const Api api(table);
    return guarded(api, [&] { check(api.add(options, domain_of(api))); });
  }
  return Api(base->get_api(1)).create_status(kFail, "libdeepseek_onnx.so needs ONNX Runtime 1.17 or newer.");
}
