// The shapes of outputs, as earlier calls found them.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "nvinfer/dims.hpp"

namespace fasttrt::bindings {

// By the shapes of all inputs. Any thread may use it.
class OutputShapeCache {
 public:
  using Shapes = std::vector<nvinfer::Dims>;

  [[nodiscard]] std::optional<Shapes> find(const Shapes& inputs) const {
    const std::lock_guard lock(mutex_);
    const auto found = outputs_.find(inputs);
    return found == outputs_.end() ? std::nullopt : std::optional(found->second);
  }

  void add(Shapes inputs, Shapes outputs) {
    const std::lock_guard lock(mutex_);
    if (outputs_.size() >= max_size) outputs_.clear();
    outputs_.insert_or_assign(std::move(inputs), std::move(outputs));
  }

 private:
  static constexpr std::size_t max_size = 1024;
  mutable std::mutex mutex_;
  std::map<Shapes, Shapes> outputs_;
};

}  // namespace fasttrt::bindings
