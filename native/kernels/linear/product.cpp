#ifdef DEEPSEEK_CUDA
#include "linear/product.h"

#include "common/operator.h"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/record_function.h>
#include <c10/cuda/CUDAGuard.h>
#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>

namespace deepseek::linear {
namespace {

constexpr const char* kName = "deepseek::linear";
constexpr size_t kWorkspace = size_t{96} << 20;
constexpr int kProposals = 24;
constexpr float kAdvantage = 0.96f;  // of the first proposal's time

std::atomic<bool> g_tunes{false};

// The library that libtorch has loaded; nothing links to it.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  bool whole = false;

  static const Library& get() {
    static const Library library;
    return library;
  }

 private:
  Library() {
    void* handle = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) {
      if (handle == nullptr) handle = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    }
    if (handle == nullptr) return;
    whole = find(handle, "cublasLtCreate", create) && find(handle, "cublasLtMatmul", matmul) && find(handle, "cublasLtMatmulAlgoGetHeuristic", heuristic) &&
            find(handle, "cublasLtMatmulDescCreate", desc_create) && find(handle, "cublasLtMatmulDescDestroy", desc_destroy) &&
            find(handle, "cublasLtMatmulDescSetAttribute", desc_set) && find(handle, "cublasLtMatrixLayoutCreate", layout_create) &&
            find(handle, "cublasLtMatrixLayoutDestroy", layout_destroy) && find(handle, "cublasLtMatmulPreferenceCreate", preference_create) &&
            find(handle, "cublasLtMatmulPreferenceDestroy", preference_destroy) && find(handle, "cublasLtMatmulPreferenceSetAttribute", preference_set);
  }

  template <class F>
  static bool find(void* handle, const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(handle, name));
    return function != nullptr;
  }
};

void check(cublasStatus_t status, const char* what) { TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS, kName, ": cuBLASLt's ", what, " failed with status ", static_cast<int>(status)); }

cudaDataType type_of(const at::Tensor& tensor, int format = -1) {
  if (format >= 0) return format == 0 ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2;
  switch (tensor.scalar_type()) {
    case at::kFloat: return CUDA_R_32F;
    case at::kBFloat16: return CUDA_R_16BF;
    default: return CUDA_R_16F;
  }
}

uint32_t alignment_of(const at::Tensor& tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.data_ptr());
  return static_cast<uint32_t>(std::min<uintptr_t>(256, address & (~address + 1)));
}

// A row-major view's memory as cuBLASLt sees it: the transpose, column by column.
struct Operand {
  bool transposed;
  int64_t rows, columns, leading;
};

Operand operand_of(const at::Tensor& t) {
  const bool rows_lie_whole = t.stride(1) == 1 && (t.size(0) == 1 || t.stride(0) >= t.size(1));
  return rows_lie_whole ? Operand{false, t.size(1), t.size(0), std::max(t.stride(0), t.size(1))} : Operand{true, t.size(0), t.size(1), std::max(t.stride(1), t.size(0))};
}

// One shape's descriptors and its algorithm.
struct Plan {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace = 0;

  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    const auto& lt = Library::get();
    if (desc != nullptr) lt.desc_destroy(desc);
    for (auto* layout : {a, b, d}) {
      if (layout != nullptr) lt.layout_destroy(layout);
    }
  }

  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, const V& value) const { check(Library::get().desc_set(desc, attribute, &value, sizeof(value)), "attribute"); }

  void point(const Product& p) const {
    if (p.vector.defined()) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.vector.data_ptr());
    if (p.kept.defined()) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.kept.data_ptr());
    if (p.a_format < 0) return;
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.b_inverse.data_ptr());
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.a_inverse.data_ptr());
  }

  cublasStatus_t run(cublasLtHandle_t handle, const Product& p, const cublasLtMatmulAlgo_t& chosen, const at::Tensor& space, cudaStream_t stream) const {
    const float one = 1, beta = p.accumulates ? 1 : 0;
    return Library::get().matmul(handle, desc, &one, p.b.data_ptr(), a, p.a.data_ptr(), b, &beta, p.out.data_ptr(), d, p.out.data_ptr(), d, &chosen, space.data_ptr(),
                                 static_cast<size_t>(space.numel()), stream);
  }
};

constexpr cublasLtEpilogue_t kEpilogues[] = {CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS};

// cuBLASLt's matrices lie column by column: it computes out's transpose, and its first factor is b's.
void describe(Plan& plan, const Product& p) {
  const auto& lt = Library::get();
  const auto a = operand_of(p.b), b = operand_of(p.a);
  check(lt.desc_create(&plan.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "descriptor");
  plan.set(CUBLASLT_MATMUL_DESC_TRANSA, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  plan.set(CUBLASLT_MATMUL_DESC_TRANSB, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  plan.set(CUBLASLT_MATMUL_DESC_EPILOGUE, kEpilogues[static_cast<int>(p.epilogue)]);
  if (p.vector.defined()) plan.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.vector));
  if (p.kept.defined()) plan.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.kept.stride(0));
  if (p.fast) plan.set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
  plan.point(p);
  check(lt.layout_create(&plan.a, type_of(p.b, p.b_format), a.rows, a.columns, a.leading), "layout");
  check(lt.layout_create(&plan.b, type_of(p.a, p.a_format), b.rows, b.columns, b.leading), "layout");
  check(lt.layout_create(&plan.d, type_of(p.out), p.out.size(1), p.out.size(0), p.out.stride(0)), "layout");
}

std::vector<cublasLtMatmulHeuristicResult_t> propose(cublasLtHandle_t handle, const Plan& plan, const Product& p, int count) {
  const auto& lt = Library::get();
  cublasLtMatmulPreference_t preference;
  check(lt.preference_create(&preference), "preference");
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) { check(lt.preference_set(preference, attribute, &value, sizeof(value)), "preference"); };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  // Parts of a sum meet in float32 and in a fixed order.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.b));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.a));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p.out));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.out));
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(count));
  int found = 0;
  const auto status = lt.heuristic(handle, plan.desc, plan.a, plan.b, plan.d, plan.d, preference, count, results.data(), &found);
  lt.preference_destroy(preference);
  TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS && found > 0, kName, ": cuBLASLt has no algorithm for [", p.a.size(0), ", ", p.a.size(1), "] x [", p.a.size(1), ", ", p.b.size(1),
              "] with epilogue ", static_cast<int>(p.epilogue), " (status ", static_cast<int>(status), ")");
  results.resize(static_cast<size_t>(found));
  return results;
}

cublasLtHandle_t handle_of(int device) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;
  const std::lock_guard<std::mutex> lock(mutex);
  auto& handle = handles[device];
  if (handle == nullptr) check(Library::get().create(&handle), "handle");
  return handle;
}

at::Tensor space_of(const Product& p, size_t bytes) { return at::empty({static_cast<int64_t>(bytes)}, p.out.options().dtype(at::kByte)); }

// Least of so many runs of each; infinite where one fails.
std::vector<float> times_of(cublasLtHandle_t handle, const Plan& plan, const Product& given, const std::vector<cublasLtMatmulHeuristicResult_t>& proposals, int repeat) {
  auto p = given;
  if (p.accumulates) p.out = at::empty_strided(p.out.sizes(), p.out.strides(), p.out.options());
  const auto stream = at::cuda::getCurrentCUDAStream();
  const auto space = space_of(p, kWorkspace);
  at::cuda::CUDAEvent start(cudaEventDefault), end(cudaEventDefault);
  std::vector<float> times(proposals.size(), INFINITY);
  for (int turn = 0; turn <= repeat; turn++) {
    for (size_t i = 0; i < proposals.size(); i++) {
      start.record(stream);
      if (plan.run(handle, p, proposals[i].algo, space, stream.stream()) != CUBLAS_STATUS_SUCCESS) continue;
      end.record(stream);
      end.synchronize();
      if (turn > 0) times[i] = std::min(times[i], start.elapsed_time(end));
    }
  }
  return times;
}

bool may_time(cudaStream_t stream) {
  auto status = cudaStreamCaptureStatusNone;
  return g_tunes && cudaStreamIsCapturing(stream, &status) == cudaSuccess && status == cudaStreamCaptureStatusNone;
}

void choose(Plan& plan, const Product& p, cublasLtHandle_t handle) {
  const bool timed = may_time(at::cuda::getCurrentCUDAStream().stream());
  const auto proposals = propose(handle, plan, p, timed ? kProposals : 1);
  size_t best = 0;
  if (timed) {
    const auto times = times_of(handle, plan, p, proposals, 4);
    best = static_cast<size_t>(std::min_element(times.begin(), times.end()) - times.begin());
    // A small advantage in a short run may be chance, or a kernel that takes more power and slows what comes after.
    if (times[best] > kAdvantage * times[0]) best = 0;
  }
  plan.algorithm = proposals[best].algo;
  plan.workspace = proposals[best].workspaceSize;
}

std::vector<int64_t> key_of(const Product& p) {
  const auto a = operand_of(p.a), b = operand_of(p.b);
  return {p.out.device().index(), static_cast<int64_t>(p.epilogue), p.accumulates, static_cast<int64_t>(p.a.scalar_type()), static_cast<int64_t>(p.out.scalar_type()),
          p.out.size(0), p.out.size(1), p.a.size(1), a.transposed, a.leading, b.transposed, b.leading, p.out.stride(0), p.kept.defined() ? p.kept.stride(0) : 0,
          alignment_of(p.a), alignment_of(p.b), alignment_of(p.out), g_tunes.load(), p.a_format, p.b_format, p.fast};
}

// The same product with out's rows whole: out's transpose, if its columns are.
Product row_major(const Product& p) {
  if (p.out.stride(1) == 1 && p.out.stride(0) >= p.out.size(1)) return p;
  TORCH_CHECK(p.out.stride(0) == 1, kName, ": the product's result is laid out neither by rows nor by columns");
  auto turned = p;
  turned.out = p.out.t();
  turned.a = p.b.t();
  turned.b = p.a.t();
  std::swap(turned.a_inverse, turned.b_inverse);
  std::swap(turned.a_format, turned.b_format);
  TORCH_CHECK(p.epilogue == Epilogue::kNone, kName, ": a bias needs a result laid out by rows");
  return turned;
}

}  // namespace

bool can_multiply(const at::Tensor& t) {
  return t.is_cuda() && t.dim() == 2 && t.numel() > 0 && (t.scalar_type() == at::kBFloat16 || t.scalar_type() == at::kHalf) && alignment_of(t) >= 16 &&
         ((t.stride(1) == 1 && t.stride(0) >= t.size(1) && t.stride(0) % 8 == 0) || (t.stride(0) == 1 && t.stride(1) >= t.size(0) && t.stride(1) % 8 == 0)) && Library::get().whole;
}

bool can_multiply_codes(const at::Tensor& codes) {
  if (!codes.is_cuda() || !Library::get().whole) return false;
  const auto* device = at::cuda::getDeviceProperties(codes.device().index());
  return device->major > 8 || (device->major == 8 && device->minor >= 9);
}

void multiply(const Product& given) {
  static std::mutex mutex;
  static std::map<std::vector<int64_t>, std::unique_ptr<Plan>> plans;
  const auto p = row_major(given);
  RECORD_FUNCTION("deepseek::product", (std::vector<c10::IValue>{p.out, p.a, p.b, p.vector, p.kept}));
  const c10::cuda::CUDAGuard device(p.out.device());
  const auto handle = handle_of(p.out.device().index());
  const std::lock_guard<std::mutex> lock(mutex);  // a plan's pointers are this call's
  auto& plan = plans[key_of(p)];
  if (plan == nullptr) {
    auto made = std::make_unique<Plan>();
    describe(*made, p);
    choose(*made, p, handle);
    plan = std::move(made);
  } else {
    plan->point(p);
  }
  check(plan->run(handle, p, plan->algorithm, space_of(p, plan->workspace), at::cuda::getCurrentCUDAStream().stream()), "product");
}

bool tune_products(bool on) { return g_tunes.exchange(on); }

}  // namespace deepseek::linear
#endif
