#include "serving/trace_sampling.hpp"

#include <algorithm>

namespace fasttrt::serving {

const TraceSampling::Sampler& TraceSampling::of(std::string_view model) const {
  const auto found = own_.find(model);
  return found == own_.end() ? all_ : found->second;
}

bool TraceSampling::wants(std::string_view model) noexcept {
  if (!is_on_.load(std::memory_order_relaxed)) return false;
  const std::lock_guard lock(mutex_);
  const auto found = own_.find(model);
  auto& [setting, seen] = found == own_.end() ? all_ : found->second;
  if (!setting.is_on || ++seen % setting.rate != 0 || setting.count == 0) return false;
  if (setting.count > 0) --setting.count;
  return true;
}

void TraceSampling::look_for_work() noexcept {
  is_on_ = all_.setting.is_on ||
           std::ranges::any_of(own_, [](const auto& entry) { return entry.second.setting.is_on; });
}

void TraceSampling::set(std::string_view model, TraceSetting setting) {
  const std::lock_guard lock(mutex_);
  (model.empty() ? all_ : own_[std::string(model)]).setting = setting;
  look_for_work();
}

void TraceSampling::clear(std::string_view model) {
  const std::lock_guard lock(mutex_);
  if (const auto found = own_.find(model); found != own_.end()) own_.erase(found);
  look_for_work();
}

TraceSetting TraceSampling::setting(std::string_view model) const {
  const std::lock_guard lock(mutex_);
  return of(model).setting;
}

}  // namespace fasttrt::serving
