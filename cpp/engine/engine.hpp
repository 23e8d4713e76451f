// A plan loaded onto a GPU, ready to run from any number of threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "cuda/device.hpp"
#include "engine/io_tensor.hpp"
#include "engine/session.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

struct EngineOptions {
  int device = 0;                // ordinal
  int contexts = 1;              // how many runs may be under way at once
  bool allow_host_code = false;  // let a version-compatible plan run the host code that it carries
};

class Engine {
 public:
  // The plan's bytes are not needed afterwards. Throws EngineLoadError with TensorRT's error lines,
  // CudaError (no driver, no such device), OutOfMemoryError.
  Engine(std::shared_ptr<const nvinfer::Library> library, std::span<const std::byte> plan,
         const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const std::vector<IoTensor>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<IoTensor>& outputs() const noexcept { return outputs_; }
  [[nodiscard]] const nvinfer::Library& library() const noexcept { return *library_; }
  [[nodiscard]] int device() const noexcept { return ordinal_; }
  [[nodiscard]] int layer_count() const;

  // Runs once and waits; from any thread. arrays: one an input, alive until this returns. results:
  // one an output. Throws InputError for shapes that no profile takes, Error once closed.
  void infer(std::span<const HostInput> arrays, std::span<HostOutput> results);

  [[nodiscard]] std::unique_ptr<nvinfer::HostMemory> serialize() const;

  // Waits for runs under way, then frees everything. Further calls do nothing.
  void close() noexcept;
  [[nodiscard]] bool closed() const;

 private:
  class Lease;
  void load(std::span<const std::byte> plan, const EngineOptions& options);
  [[nodiscard]] IoTensor describe(const std::string& name) const;
  [[nodiscard]] std::unique_ptr<Session> make_session() const;

  std::shared_ptr<const nvinfer::Library> library_;
  int ordinal_;
  std::shared_ptr<cuda::PrimaryContext> device_;  // null once closed
  std::shared_ptr<nvinfer::CudaEngine> engine_;
  std::vector<IoTensor> inputs_;
  std::vector<IoTensor> outputs_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Session>> idle_;
  int session_limit_;
  int session_count_ = 0;
  int busy_ = 0;
  bool closed_ = false;
};

}  // namespace fasttrt::engine
