#include "engine/shared_session_state.hpp"

#include <cstdint>
#include <utility>

namespace fasttrt::engine {

SizeKey size_key(std::size_t profile, std::span<const InputArray> arrays) {
  SizeKey key;
  key.reserve(arrays.size() + 1);
  key.push_back({static_cast<std::int64_t>(profile)});
  for (const auto& array : arrays) key.push_back(array.shape);
  return key;
}

bool SharedSessionState::is_new_size(std::size_t profile, std::span<const InputArray> arrays) {
  constexpr std::size_t most = 4096;  // beyond it they count again
  auto key = size_key(profile, arrays);
  if (kernels->sizes.size() == most) kernels->sizes.clear();
  if (kernels->sizes.insert(key).second) kernels->has_news = true;
  if (sizes.size() == most) sizes.clear();
  return sizes.insert(std::move(key)).second;
}

}  // namespace fasttrt::engine
