#include "common/copy_pool.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

namespace fasttrt {
namespace {

std::vector<std::byte> random_bytes(std::size_t count) {
  std::mt19937_64 engine(std::random_device{}());
  std::vector<std::byte> bytes(count);
  for (auto& value : bytes) value = static_cast<std::byte>(engine());
  return bytes;
}

// Also that pieces come in order, without gaps, and hold their bytes when they are announced.
void check_copy(CopyPool& pool, std::size_t bytes) {
  const auto src = random_bytes(bytes);
  std::vector<std::byte> dst(bytes + 1, std::byte{0});
  std::size_t end = 0;
  bool right = true;
  pool.copy(dst.data(), src.data(), bytes, [&](std::size_t begin, std::size_t count) {
    right = right && begin == end && count > 0;
    end = begin + count;
    for (auto i = begin; i < end; ++i) right = right && dst[i] == src[i];
  });
  CHECK(right);
  CHECK(end == bytes);
  CHECK(dst[bytes] == std::byte{0});
}

TEST_CASE("every byte is copied, alone and with helpers") {
  for (const unsigned helpers : {0U, 1U, 3U}) {
    CopyPool pool(helpers);
    for (const std::size_t bytes :
         {0UL, 1UL, 4095UL, 65536UL, 301056UL, 524288UL, 524289UL, 1048576UL, 9633793UL}) {
      CAPTURE(helpers);
      CAPTURE(bytes);
      for (int again = 0; again < 3; ++again) check_copy(pool, bytes);
    }
  }
}

TEST_CASE("small copies in quick succession never touch one another's memory") {
  CopyPool pool(3);
  std::mt19937 engine(std::random_device{}());
  std::uniform_int_distribution<std::size_t> sizes(1 << 16, 1 << 18);
  for (int i = 0; i < 100; ++i) check_copy(pool, sizes(engine));
}

TEST_CASE("threads that copy at once get their own bytes") {
  CopyPool pool(2);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&pool] {
      const auto src = random_bytes(1 << 20);
      std::vector<std::byte> dst(src.size());
      for (int again = 0; again < 10; ++again) {
        dst.assign(dst.size(), std::byte{0});
        pool.copy(dst.data(), src.data(), src.size());
        if (dst != src) throw std::logic_error("a wrong copy");  // ends the process
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_CASE("an exception of the sink ends the copy, and the pool stays usable") {
  CopyPool pool(2);
  for (int again = 0; again < 5; ++again) {
    {
      const auto src = random_bytes(2 << 20);
      std::vector<std::byte> dst(src.size());
      CHECK_THROWS_AS(pool.copy(dst.data(), src.data(), src.size(),
                                [](std::size_t begin, std::size_t) {
                                  if (begin > 0) throw std::runtime_error("enough");
                                }),
                      std::runtime_error);
    }
    check_copy(pool, 2 << 20);
  }
}

}  // namespace
}  // namespace fasttrt
