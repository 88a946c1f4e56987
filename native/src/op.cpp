#include "deepseek/op.h"

#include "guard.h"

#include <deque>
#include <mutex>
#include <unordered_map>

using deepseek::borrow;
using deepseek::fail;
using deepseek::guard;
using deepseek::require;

namespace {

constexpr uint32_t bit(int32_t kind) { return 1u << kind; }

// Kinds of values that an argument of this type takes.
uint32_t accepted_kinds(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType: return bit(DS_VALUE_TENSOR);
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return bit(DS_VALUE_INT);
    case c10::TypeKind::FloatType: return bit(DS_VALUE_DOUBLE) | bit(DS_VALUE_INT);
    case c10::TypeKind::NumberType: return bit(DS_VALUE_INT) | bit(DS_VALUE_DOUBLE) | bit(DS_VALUE_BOOL);
    case c10::TypeKind::BoolType: return bit(DS_VALUE_BOOL);
    case c10::TypeKind::StringType: return bit(DS_VALUE_STRING);
    case c10::TypeKind::DeviceObjType: return bit(DS_VALUE_DEVICE);
    case c10::TypeKind::OptionalType:
      return accepted_kinds(type->castRaw<c10::OptionalType>()->getElementType()) | bit(DS_VALUE_NONE);
    case c10::TypeKind::ListType: {
      const auto element = type->castRaw<c10::ListType>()->getElementType();
      switch (element->kind()) {
        case c10::TypeKind::IntType:
        case c10::TypeKind::SymIntType: return bit(DS_VALUE_INT_LIST);
        case c10::TypeKind::FloatType: return bit(DS_VALUE_DOUBLE_LIST);
        case c10::TypeKind::BoolType: return bit(DS_VALUE_BOOL_LIST);
        case c10::TypeKind::TensorType: return bit(DS_VALUE_TENSOR_LIST);
        case c10::TypeKind::OptionalType: return bit(DS_VALUE_TENSOR_LIST);
        default: return 0;
      }
    }
    default: return 0;
  }
}

struct Parameter {
  std::string name;
  std::string type;
  uint32_t kinds;
  bool number;            // an integer given is turned into a double
  bool optional_tensors;  // a list whose entries may be null
  c10::optional<c10::IValue> standard;
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  std::vector<Parameter> parameters;
};

// Operators found so far; entries are never removed, so a number stays good.
constexpr int32_t kMaxOperators = 8192;
std::atomic<const Operator*> operators[kMaxOperators];
std::atomic<int32_t> operator_count{0};
std::mutex registration;
std::unordered_map<std::string, int32_t>& numbers() {
  static auto* map = new std::unordered_map<std::string, int32_t>();
  return *map;
}

bool is_optional_tensor_list(const c10::TypePtr& type) {
  if (type->kind() != c10::TypeKind::ListType) return false;
  return type->castRaw<c10::ListType>()->getElementType()->kind() == c10::TypeKind::OptionalType;
}

bool is_float(const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::OptionalType) return is_float(type->castRaw<c10::OptionalType>()->getElementType());
  return type->kind() == c10::TypeKind::FloatType;
}

const Operator& operator_of(int32_t op) {
  require(op >= 0 && op < operator_count.load(std::memory_order_acquire), "the operator number is unknown");
  return *operators[op].load(std::memory_order_relaxed);
}

template <class T>
c10::List<T> list_of(const ds_value& value) {
  require(value.count >= 0 && (value.as.pointer != nullptr || value.count == 0), "a list is null or has a negative count");
  c10::List<T> list;
  list.reserve(static_cast<size_t>(value.count));
  return list;
}

c10::IValue tensor_list(const ds_value& value, bool optional) {
  const auto* handles = static_cast<const ds_tensor*>(value.as.pointer);
  if (optional) {
    auto list = list_of<c10::optional<at::Tensor>>(value);
    for (int32_t i = 0; i < value.count; i++) {
      list.push_back(handles[i] == nullptr ? c10::optional<at::Tensor>() : c10::optional<at::Tensor>(borrow(handles[i])));
    }
    return list;
  }
  auto list = list_of<at::Tensor>(value);
  for (int32_t i = 0; i < value.count; i++) list.push_back(borrow(handles[i]));
  return list;
}

c10::IValue argument(const ds_value& value, const Parameter& parameter) {
  switch (value.kind) {
    case DS_VALUE_NONE: return c10::IValue();
    case DS_VALUE_TENSOR: return borrow(value.as.tensor);
    case DS_VALUE_INT:
      if (parameter.number) return static_cast<double>(value.as.integer);
      return value.as.integer;
    case DS_VALUE_DOUBLE: return value.as.number;
    case DS_VALUE_BOOL: return value.as.integer != 0;
    case DS_VALUE_INT_LIST: {
      auto list = list_of<int64_t>(value);
      const auto* items = static_cast<const int64_t*>(value.as.pointer);
      for (int32_t i = 0; i < value.count; i++) list.push_back(items[i]);
      return list;
    }
    case DS_VALUE_DOUBLE_LIST: {
      auto list = list_of<double>(value);
      const auto* items = static_cast<const double*>(value.as.pointer);
      for (int32_t i = 0; i < value.count; i++) list.push_back(items[i]);
      return list;
    }
    case DS_VALUE_BOOL_LIST: {
      auto list = list_of<bool>(value);
      const auto* items = static_cast<const uint8_t*>(value.as.pointer);
      for (int32_t i = 0; i < value.count; i++) list.push_back(items[i] != 0);
      return list;
    }
    case DS_VALUE_TENSOR_LIST: return tensor_list(value, parameter.optional_tensors);
    case DS_VALUE_STRING:
      require(value.count >= 0 && (value.as.pointer != nullptr || value.count == 0), "a string is null or has a negative length");
      return std::string(static_cast<const char*>(value.as.pointer), static_cast<size_t>(value.count));
    case DS_VALUE_DEVICE: {
      const auto type = value.as.integer / 65536;
      require(type == DS_CPU || type == DS_CUDA, "the device type is neither 0 (CPU) nor 1 (CUDA)");
      return c10::Device(static_cast<c10::DeviceType>(type), static_cast<c10::DeviceIndex>(type == DS_CPU ? -1 : value.as.integer % 65536));
    }
    default: fail(DS_INVALID_ARGUMENT, "unknown kind of value " + std::to_string(value.kind));
  }
}

void push_arguments(const Operator& op, const ds_value* values, int32_t count, torch::jit::Stack& stack) {
  if (static_cast<size_t>(count) > op.parameters.size()) {
    fail(DS_INVALID_ARGUMENT, op.name + " takes " + std::to_string(op.parameters.size()) + " arguments, " + std::to_string(count) + " given");
  }
  for (size_t i = 0; i < op.parameters.size(); i++) {
    const auto& parameter = op.parameters[i];
    if (i >= static_cast<size_t>(count) || values[i].kind == DS_VALUE_DEFAULT) {
      if (!parameter.standard) fail(DS_INVALID_ARGUMENT, op.name + ": argument " + parameter.name + " is missing and has no default");
      stack.push_back(*parameter.standard);
      continue;
    }
    const auto kind = values[i].kind;
    if (kind < 0 || kind > DS_VALUE_DEVICE || (parameter.kinds & bit(kind)) == 0) {
      fail(DS_INVALID_ARGUMENT, op.name + ": argument " + parameter.name + " is " + parameter.type + "; a value of kind " + std::to_string(kind) + " was given");
    }
    stack.push_back(argument(values[i], parameter));
  }
}

ds_value result_of(const c10::IValue& value) {
  ds_value result{};
  if (value.isTensor()) {
    auto tensor = value.toTensor();
    result.kind = tensor.defined() ? DS_VALUE_TENSOR : DS_VALUE_NONE;
    if (tensor.defined()) result.as.tensor = deepseek::give(std::move(tensor));
  } else if (value.isInt()) {
    result.kind = DS_VALUE_INT;
    result.as.integer = value.toInt();
  } else if (value.isDouble()) {
    result.kind = DS_VALUE_DOUBLE;
    result.as.number = value.toDouble();
  } else if (value.isBool()) {
    result.kind = DS_VALUE_BOOL;
    result.as.integer = value.toBool();
  } else if (value.isNone()) {
    result.kind = DS_VALUE_NONE;
  } else {
    fail(DS_OPERATOR_FAILED, "a result of type " + value.tagKind() + " cannot be returned");
  }
  return result;
}

void return_results(const torch::jit::Stack& stack, ds_value* results, int32_t capacity, int32_t* result_count) {
  std::vector<at::Tensor> elements;
  const bool is_list = stack.size() == 1 && stack[0].isTensorList();
  if (is_list) elements = stack[0].toTensorVector();
  const auto count = static_cast<int32_t>(is_list ? elements.size() : stack.size());
  if (count > capacity) {
    *result_count = count;
    fail(DS_INVALID_ARGUMENT, std::to_string(count) + " results, room for " + std::to_string(capacity));
  }
  for (int32_t i = 0; i < count; i++) {
    results[i] = is_list ? result_of(c10::IValue(elements[static_cast<size_t>(i)])) : result_of(stack[static_cast<size_t>(i)]);
  }
  *result_count = count;
}

}  // namespace

ds_status ds_op_find(const char* name, const char* overload, int32_t* op) noexcept {
  return guard("ds_op_find", [&] {
    require(name != nullptr && overload != nullptr, "the name or overload is null");
    require(op != nullptr, "the output pointer is null");
    const std::string key = std::string(name) + "." + overload;
    const std::lock_guard<std::mutex> lock(registration);
    const auto known = numbers().find(key);
    if (known != numbers().end()) {
      *op = known->second;
      return;
    }
    const auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
    if (!handle) fail(DS_NOT_FOUND, "libtorch has no operator " + key);
    const auto number = operator_count.load(std::memory_order_relaxed);
    require(number < kMaxOperators, "too many operators");
    auto found = std::make_unique<Operator>(Operator{*handle, key, {}});
    for (const auto& argument : handle->schema().arguments()) {
      found->parameters.push_back({argument.name(), argument.type()->str(), accepted_kinds(argument.type()),
                                   is_float(argument.type()), is_optional_tensor_list(argument.type()), argument.default_value()});
    }
    numbers().emplace(key, number);
    operators[number].store(found.release(), std::memory_order_relaxed);
    operator_count.store(number + 1, std::memory_order_release);
    *op = number;
  });
}

ds_status ds_op_call(int32_t op, const ds_value* arguments, int32_t argument_count, ds_value* results, int32_t capacity, int32_t* result_count) noexcept {
  // The stack's memory is kept between calls; a nested call finds it empty and starts its own.
  static thread_local torch::jit::Stack kept;
  return guard("ds_op_call", [&] {
    require(argument_count >= 0 && (arguments != nullptr || argument_count == 0), "the arguments are null or their count negative");
    require(capacity >= 0 && (results != nullptr || capacity == 0), "the results are null or their capacity negative");
    require(result_count != nullptr, "the result count is null");
    const auto& called = operator_of(op);
    auto stack = std::move(kept);
    kept = {};
    stack.clear();
    push_arguments(called, arguments, argument_count, stack);
    called.handle.callBoxed(&stack);
    return_results(stack, results, capacity, result_count);
    stack.clear();
    kept = std::move(stack);
  });
}
