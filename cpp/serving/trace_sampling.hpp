// Which requests are traced: one of every so many, for all models or for one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace fasttrt::serving {

struct TraceSetting {
  bool is_on = false;
  std::uint64_t rate = 1000;  // one of so many, at least 1
  std::int64_t count = -1;    // how many more; -1: no limit
};

// All functions may be called from any thread.
class TraceSampling {
 public:
  // Whether this request to the model is one of them: counts it. Costs nothing while all is off.
  [[nodiscard]] bool wants(std::string_view model) noexcept;

  // Of one model, or, without a name, of all that have no setting of their own.
  void set(std::string_view model, TraceSetting setting);
  // A model has no setting of its own any more.
  void clear(std::string_view model);
  // As it is by now: its count has gone down.
  [[nodiscard]] TraceSetting setting(std::string_view model) const;

 private:
  struct Sampler {
    TraceSetting setting;
    std::uint64_t seen = 0;
  };

  void look_for_work() noexcept;
  [[nodiscard]] const Sampler& of(std::string_view model) const;

  std::atomic<bool> is_on_ = false;  // for any model
  mutable std::mutex mutex_;
  Sampler all_;
  std::map<std::string, Sampler, std::less<>> own_;
};

}  // namespace fasttrt::serving
