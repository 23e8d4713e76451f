#include "serving/api_keys.hpp"

namespace fasttrt::serving {
namespace {

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as the headers' names
std::string_view given_key(std::string_view authorization, std::string_view api_key) noexcept {
  constexpr std::string_view scheme = "bearer ";
  if (equals_ignoring_case(authorization.substr(0, scheme.size()), scheme)) {
    return trimmed(authorization.substr(scheme.size()));
  }
  return api_key;
}

bool is_equal(std::string_view given, std::string_view key) noexcept {
  if (given.size() != key.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < key.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(key[i]);
  }
  return difference == 0;
}

}  // namespace

bool ApiKeys::admit(const RequestHead& head) const noexcept {
  return keys_.empty() || admit(head.only("authorization"), head.only("x-api-key"));
}

bool ApiKeys::admit(std::string_view authorization, std::string_view api_key) const noexcept {
  if (keys_.empty()) return true;
  const auto given = given_key(authorization, api_key);
  bool is_known = false;
  for (const auto& key : keys_) is_known = is_equal(given, key) || is_known;
  return is_known && !given.empty();
}

}  // namespace fasttrt::serving
