// The part of Session that places inputs and outputs in memory.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "common/nvtx.hpp"
#include "engine/session.hpp"

namespace fasttrt::engine {
namespace {

std::int64_t number(const void* address) noexcept {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(address));
}

}  // namespace

// The address that a slot gives. Graphs that use memory which it replaced go, also where the
// replacing failed.
void* Session::placed(const auto& place) {
  try {
    const Placement placement = place();
    if (placement.moved) graphs_.clear();
    return placement.address;
  } catch (...) {
    graphs_.clear();
    throw;
  }
}

// Brings the inputs to where the engine reads them, and makes the key of the run: all that a
// graph of it depends on. Returns the profile: another one where values that were on the device
// want it.
std::size_t Session::stage(std::span<const InputArray> arrays, std::size_t profile,
                           std::span<const OutputArray> results, cuda::StreamRef stream) {
  const nvtx::Range range(shared_.ranges.staging.c_str());
  bool has_news = false;
  key_.assign(1, 0);  // the profile's place
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    addresses_[i] = placed([&] { return inputs_[i].stage(arrays[i], stream); });
    key_.push_back(number(addresses_[i]));
    key_.insert(key_.end(), arrays[i].shape.begin(), arrays[i].shape.end());
    if (shared_.inputs[i].on_host) {
      has_news = has_news || arrays[i].place == Place::device;
      for (const auto value : inputs_[i].values()) {
        key_.push_back(std::to_integer<std::int64_t>(value));
      }
    }
  }
  for (const auto& result : results) {
    key_.push_back(result.place == Place::device ? number(result.target) : -1);
  }
  if (has_news) profile = choose_profile(shared_.inputs, with_values(arrays));
  key_.front() = static_cast<std::int64_t>(profile);
  return profile;
}

// The arrays, those of shape tensors as staged: on the host.
std::vector<InputArray> Session::with_values(std::span<const InputArray> arrays) const {
  std::vector<InputArray> readable(arrays.begin(), arrays.end());
  for (std::size_t i = 0; i < readable.size(); ++i) {
    if (!shared_.inputs[i].on_host) continue;
    readable[i].data = addresses_[i];
    readable[i].place = Place::host;
  }
  return readable;
}

void Session::bind_outputs(std::span<OutputArray> results, std::span<const Dims> shapes) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& tensor = shared_.outputs[i];
    auto& slot = outputs_[i];
    if (tensor.on_host && !shapes[i].known()) {
      throw Error("TensorRT does not know the shape of the output " + tensor.name);
    }
    if (tensor.on_host || (shapes[i].known() && slot.allocator() == nullptr)) {
      slot.prepare(results[i], shapes[i]);
      context_.bind(tensor.name, placed([&] { return slot.place(results[i], shapes[i]); }));
      continue;
    }
    if (slot.allocator() == nullptr) graphs_.clear();  // see uncapturable_output()
    context_.bind(tensor.name, slot.use_allocator());
  }
}

void Session::copy_ahead(std::size_t input, const std::byte* array, std::size_t begin,
                         std::size_t end, std::size_t capacity) {
  wait_for_previous_run({{{array, {}, Place::host}}}, stream_);
  has_ahead_ = true;
  std::ignore = placed([&] {
    return Placement{nullptr, inputs_[input].copy_ahead(array, begin, end, capacity, stream_)};
  });
}

bool Session::pad_ahead(std::size_t input, const std::byte* array, std::size_t end,
                        std::size_t capacity) {
  if (!inputs_[input].is_copied(capacity)) return false;
  wait_for_previous_run({{{array, {}, Place::host}}}, stream_);
  has_ahead_ = true;
  std::ignore = placed(
      [&] { return Placement{nullptr, inputs_[input].pad_ahead(array, end, capacity, stream_)}; });
  return true;
}

void Session::forget_ahead() noexcept {
  if (!std::exchange(has_ahead_, false)) return;
  synchronize_quietly(stream_);
  for (auto& input : inputs_) input.forget_ahead();
}

// Whether the GPU reads an array of the run at hand from the caller's page-locked memory.
bool Session::lends_inputs() const { return std::ranges::any_of(inputs_, &InputSlot::is_lent); }

// What the slots hold by now, which changes in no replay.
void Session::note_memory() noexcept {
  MemoryHeld now;
  for (const auto& input : inputs_) now += input.memory();
  for (const auto& output : outputs_) now += output.memory();
  now.device += context_.scratch_bytes();
  shared_.memory.device += now.device - memory_.device;  // modulo 2^64, as a difference may be
  shared_.memory.pinned += now.pinned - memory_.pinned;
  memory_ = now;
}

}  // namespace fasttrt::engine
