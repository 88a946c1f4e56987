#include "state.h"

#include <charconv>

namespace deepseek::trace {

namespace {

constexpr int64_t kLongestList = 64;

template <class T>
void number(std::string& text, T value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  text.append(digits, end.ptr);
}

void sizes(std::string& text, c10::IntArrayRef values) {
  text += '[';
  for (size_t i = 0; i < values.size(); i++) {
    if (i > 0) text += ',';
    number(text, values[i]);
  }
  text += ']';
}

void tensor(std::string& text, const at::Tensor& value) {
  if (!value.defined()) {
    text += 'N';
    return;
  }
  text += 'T';
  number(text, static_cast<int>(value.scalar_type()));
  text += ':';
  number(text, static_cast<int>(value.device().type()));
  // Sparse and nested tensors have no plain sizes.
  if (value.layout() == c10::kStrided && !value.is_nested()) {
    sizes(text, value.sizes());
  } else {
    text += '?';
  }
}

void append(std::string& text, const c10::IValue& value) {
  if (value.isTensor()) {
    tensor(text, value.toTensor());
  } else if (value.isNone()) {
    text += 'N';
  } else if (value.isBool()) {
    text += value.toBool() ? "B1" : "B0";
  } else if (value.isInt()) {
    text += 'I';
    number(text, value.toInt());
  } else if (value.isDouble()) {
    text += 'D';
    number(text, value.toDouble());
  } else if (value.isIntList()) {
    const auto list = value.toIntList();
    text += "L[";
    for (size_t i = 0; i < list.size(); i++) {
      if (i > 0) text += ',';
      number(text, static_cast<int64_t>(list[i]));
    }
    text += ']';
  } else if (value.isBoolList()) {
    const auto list = value.toBoolList();
    text += "L[";
    for (size_t i = 0; i < list.size(); i++) {
      if (i > 0) text += ',';
      text += list[i] ? '1' : '0';
    }
    text += ']';
  } else if (value.isTensorList() || value.isList()) {
    const auto list = value.toListRef();
    text += '{';
    for (size_t i = 0; i < list.size() && i < kLongestList; i++) {
      if (i > 0) text += ' ';
      append(text, list[i]);
    }
    text += '}';
  } else {
    text += '?';
  }
}

}  // namespace

void describe(std::string& text, const c10::IValue* values, size_t count) {
  text += '|';
  for (size_t i = 0; i < count; i++) {
    if (i > 0) text += ' ';
    append(text, values[i]);
  }
}

}  // namespace deepseek::trace
