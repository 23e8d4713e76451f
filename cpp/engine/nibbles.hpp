// Four-bit types: TensorRT packs two elements into a byte, the first in the low half; numpy (with
// ml_dtypes) keeps one a byte.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace fasttrt::engine {

[[nodiscard]] std::vector<std::byte> pack_nibbles(std::span<const std::byte> elements);

// The first elements.size() of them; is_signed extends the sign into the upper half.
void unpack_nibbles(std::span<const std::byte> packed, std::span<std::byte> elements,
                    bool is_signed) noexcept;

}  // namespace fasttrt::engine
