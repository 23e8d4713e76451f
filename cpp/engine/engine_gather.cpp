// Runs of an engine whose inputs come to the device bit by bit.
#include <utility>

#include "common/nvtx.hpp"
#include "engine/engine_access.hpp"

namespace fasttrt::engine {

class Engine::GatheredSession final : public GatheredRun {
 public:
  GatheredSession(Engine& engine, std::unique_ptr<SessionLease> lease)
      : engine_(engine), lease_(std::move(lease)) {}
  ~GatheredSession() override { (*lease_)->forget_ahead(); }
  GatheredSession(const GatheredSession&) = delete;
  GatheredSession& operator=(const GatheredSession&) = delete;

  void upload(std::size_t input, const HostRows& rows, std::int64_t begin,
              std::int64_t end) override {
    const auto bytes = [&](std::int64_t count) {
      return static_cast<std::size_t>(count) * rows.row_bytes;
    };
    (*lease_)->copy_ahead(input, static_cast<const std::byte*>(rows.data), bytes(begin), bytes(end),
                          bytes(rows.capacity));
  }

  bool pad(std::size_t input, const HostRows& rows, std::int64_t end) override {
    return (*lease_)->pad_ahead(input, static_cast<const std::byte*>(rows.data),
                                static_cast<std::size_t>(end) * rows.row_bytes,
                                static_cast<std::size_t>(rows.capacity) * rows.row_bytes);
  }

  void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) override {
    const nvtx::Range range(engine_.shared_.ranges.batch.c_str());
    (*lease_)->run(inputs, choose_profile(engine_.shared_.inputs, inputs), outputs, std::nullopt);
  }

 private:
  Engine& engine_;
  std::unique_ptr<SessionLease> lease_;
};

std::unique_ptr<GatheredRun> Engine::gather() {
  return std::make_unique<GatheredSession>(*this, std::make_unique<SessionLease>(*this));
}

std::unique_ptr<GatheredRun> Engine::try_gather(std::size_t largest_input) {
  if (largest_input <= options_.mapped_limit) return nullptr;  // the GPU reads it where it is
  auto lease = SessionLease::try_lease(*this);
  if (lease == nullptr) return nullptr;
  return std::make_unique<GatheredSession>(*this, std::move(lease));
}

}  // namespace fasttrt::engine
