// One execution context with what a run needs: a stream, device memory for inputs and outputs,
// and what the context was last told. Used by one thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "cuda/memory.hpp"
#include "cuda/stream.hpp"
#include "engine/host_output.hpp"
#include "engine/io_tensor.hpp"
#include "nvinfer/output_allocator.hpp"
#include "nvinfer/runtime.hpp"

namespace fasttrt::engine {

class Session {
 public:
  // The device must be current here and in run(). inputs and outputs are the engine's own lists
  // and outlive the session.
  Session(const std::shared_ptr<nvinfer::CudaEngine>& engine,
          const std::shared_ptr<cuda::PrimaryContext>& device, std::span<const IoTensor> inputs,
          std::span<const IoTensor> outputs);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs once and waits. arrays fit `profile`, see choose_profile(). results has one entry for
  // each output. Throws InputError, CudaError, OutOfMemoryError or Error; the session stays usable.
  void run(std::span<const HostInput> arrays, std::size_t profile, std::span<HostOutput> results);

 private:
  struct Input {
    cuda::DeviceBuffer buffer;
    std::vector<std::byte> host;  // a shape tensor's values, read by TensorRT at any time
    Dims shape{Dims::unknown_rank};
  };
  struct Output {
    cuda::DeviceBuffer buffer;
    HostBuffer host;                                      // a shape tensor's values
    std::unique_ptr<nvinfer::OutputAllocator> allocator;  // once its size depended on the data
  };

  void select(std::size_t profile);
  void set_inputs(std::span<const HostInput> arrays);
  void set_outputs(std::span<HostOutput> results);
  void bind(const std::string& tensor, void* address);
  void fetch(std::size_t index, HostOutput& result);

  std::span<const IoTensor> inputs_;
  std::span<const IoTensor> outputs_;
  std::shared_ptr<cuda::PrimaryContext> device_;
  cuda::Stream stream_;
  std::vector<Input> input_states_;
  std::vector<Output> output_states_;
  bool is_v8_;
  std::unique_ptr<nvinfer::ExecutionContext> context_;  // first to go: it uses all of the above
  std::size_t profile_ = 0;
};

}  // namespace fasttrt::engine
