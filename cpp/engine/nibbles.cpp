#include "engine/nibbles.hpp"

namespace fasttrt::engine {

std::vector<std::byte> pack_nibbles(std::span<const std::byte> elements) {
  constexpr std::byte low{0x0F};
  std::vector<std::byte> packed((elements.size() + 1) / 2);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const auto half = elements[i] & low;
    packed[i / 2] |= (i % 2 == 0) ? half : half << 4;
  }
  return packed;
}

void unpack_nibbles(std::span<const std::byte> packed, std::span<std::byte> elements,
                    bool is_signed) noexcept {
  constexpr std::byte low{0x0F};
  constexpr std::byte sign{0x08};
  for (std::size_t i = 0; i < elements.size(); ++i) {
    auto half = (i % 2 == 0) ? packed[i / 2] & low : packed[i / 2] >> 4;
    if (is_signed && (half & sign) != std::byte{0}) half |= ~low;
    elements[i] = half;
  }
}

}  // namespace fasttrt::engine
