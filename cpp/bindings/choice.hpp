// Options that are one of a few words.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "engine/wait.hpp"

namespace fasttrt::bindings {

// One of the values that an option may have. Throws InputError that names them.
template <class T>
T choose(const char* option, const std::string& value,
         std::initializer_list<std::pair<const char*, T>> choices) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (value == name) return choice;
    names += std::string(names.empty() ? "" : ", ") + name;
  }
  throw InputError(std::string(option) + ": expected one of " + names + ", got " + value);
}

[[nodiscard]] inline engine::WaitPolicy wait_policy(const std::string& value) {
  using engine::WaitPolicy;
  return choose<WaitPolicy>("wait", value,
                            {{"auto", WaitPolicy::automatic},
                             {"spin", WaitPolicy::spin},
                             {"yield", WaitPolicy::yield},
                             {"block", WaitPolicy::block}});
}

}  // namespace fasttrt::bindings
