#include "serving/model_table.hpp"

#include <utility>

namespace fasttrt::serving {

std::optional<InferTarget> read_infer_target(std::string_view target) noexcept {
  constexpr std::string_view prefix = "/v2/models/";
  constexpr std::string_view suffix = "/infer";
  constexpr std::string_view separator = "/versions/";
  if (target.size() <= prefix.size() + suffix.size() || !target.starts_with(prefix) ||
      !target.ends_with(suffix)) {
    return std::nullopt;
  }
  target.remove_prefix(prefix.size());
  target.remove_suffix(suffix.size());
  if (target.find_first_of("%?#") != std::string_view::npos) return std::nullopt;
  const auto name = target.substr(0, target.find('/'));
  target.remove_prefix(name.size());
  if (target.empty()) return InferTarget{name, {}};
  if (!target.starts_with(separator)) return std::nullopt;
  target.remove_prefix(separator.size());
  if (target.empty()) return std::nullopt;
  return InferTarget{name, target};
}

void ModelTable::set(ServedModelPtr model, bool is_default) {
  const std::lock_guard lock(changing_);
  auto models = std::make_shared<Models>(*current());
  auto& versions = (*models)[model->name()];
  auto& place = versions.models[model->version()];
  if (is_default || (place != nullptr && versions.default_model == place)) {
    versions.default_model = is_default ? model : nullptr;
  }
  place = std::move(model);
  replace(std::move(models));
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in a target
void ModelTable::remove(std::string_view name, std::string_view version) {
  const std::lock_guard lock(changing_);
  auto models = std::make_shared<Models>(*current());
  const auto found = models->find(name);
  if (found == models->end()) return;
  auto& versions = found->second;
  const auto place = versions.models.find(version);
  if (place == versions.models.end()) return;
  if (versions.default_model == place->second) versions.default_model = nullptr;
  versions.models.erase(place);
  if (versions.models.empty()) models->erase(found);
  replace(std::move(models));
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in a target
ServedModelPtr ModelTable::find(std::string_view name, std::string_view version) const {
  const auto models = current();
  const auto found = models->find(name);
  if (found == models->end()) return nullptr;
  const auto& versions = found->second;
  if (version.empty()) return versions.default_model;
  const auto place = versions.models.find(version);
  return place == versions.models.end() ? nullptr : place->second;
}

std::shared_ptr<const ModelTable::Models> ModelTable::current() const {
  const std::lock_guard lock(pointer_mutex_);
  return models_;
}

void ModelTable::replace(std::shared_ptr<const Models> models) {
  const std::lock_guard lock(pointer_mutex_);
  models_.swap(models);  // what was there before is freed after the lock
}

ServedModelPtr ModelTable::find_for_infer(std::string_view target) const {
  const auto read = read_infer_target(target);
  return read ? find(read->name, read->version) : nullptr;
}

}  // namespace fasttrt::serving
