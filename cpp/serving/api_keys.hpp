// Whether a request has one of the keys that plain requests need, if any are set.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serving/http_parser.hpp"

namespace fasttrt::serving {

class ApiKeys {
 public:
  explicit ApiKeys(std::vector<std::string> keys) noexcept : keys_(std::move(keys)) {}

  // "Authorization: Bearer KEY" or "X-Api-Key: KEY"; takes as long whatever is wrong with a key,
  // but its length. Without keys: true.
  [[nodiscard]] bool admit(const RequestHead& head) const noexcept;
  // The same for the values of these headers, empty for none.
  [[nodiscard]] bool admit(std::string_view authorization, std::string_view api_key) const noexcept;

 private:
  const std::vector<std::string> keys_;
};

}  // namespace fasttrt::serving
