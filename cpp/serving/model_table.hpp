// The models whose plain requests need no Python, by name and version.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "serving/served_model.hpp"

namespace fasttrt::serving {

// What a target of the form /v2/models/NAME[/versions/VERSION]/infer names.
struct InferTarget {
  std::string_view name;
  std::string_view version;  // empty: none
};

// None for other targets, also those that are percent-encoded.
[[nodiscard]] std::optional<InferTarget> read_infer_target(std::string_view target) noexcept;

using ServedModelPtr = std::shared_ptr<const ServedModel>;

// Changed by copying, so that those who look models up never wait for a change.
class ModelTable {
 public:
  // Adds the version, or puts it in another one's place. is_default: it is meant where a request
  // names no version.
  void set(ServedModelPtr model, bool is_default);
  // Requests under way keep it.
  void remove(std::string_view name, std::string_view version);

  // An empty version: the default one. Null where there is none.
  [[nodiscard]] ServedModelPtr find(std::string_view name, std::string_view version) const;
  // The model that an InferTarget means; null for one that is not here, and for other targets.
  [[nodiscard]] ServedModelPtr find_for_infer(std::string_view target) const;

 private:
  struct Versions {
    std::map<std::string, ServedModelPtr, std::less<>> models;
    ServedModelPtr default_model;
  };
  using Models = std::map<std::string, Versions, std::less<>>;

  [[nodiscard]] std::shared_ptr<const Models> current() const;
  void replace(std::shared_ptr<const Models> models);

  std::mutex changing_;
  // Locked while the pointer is copied; libc++ has no std::atomic of it.
  mutable std::mutex pointer_mutex_;
  std::shared_ptr<const Models> models_ = std::make_shared<const Models>();
};

}  // namespace fasttrt::serving
