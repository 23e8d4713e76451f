// A version of a model whose plain requests need no Python.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/dispatcher.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/enums.hpp"
#include "serving/latency_histogram.hpp"

namespace fasttrt::serving {

// As clients see it.
struct ServedTensor {
  std::string name;
  std::string datatype;  // the protocol's name
  nvinfer::Dims shape;   // -1 for a dimension that differs between requests
};

// Why requests fail, as Triton's metrics call it.
enum class FailureReason : std::uint8_t { rejected, canceled, backend, other };

// Of the requests that reached the dispatcher.
struct RequestCounters {
  using Duration = std::chrono::nanoseconds;

  std::atomic<std::uint64_t> success = 0;
  std::atomic<std::uint64_t> success_ns = 0;  // from a request's last byte to its answer
  LatencyHistogram latency;                   // the same times
  std::atomic<std::uint64_t> rows = 0;        // of batches; 1 for each request without batching
  std::array<std::atomic<std::uint64_t>, 4> failures{};  // by their reasons
  std::atomic<std::uint64_t> fail_ns = 0;
  std::atomic<std::int64_t> last_ms = 0;  // since 1970, when the last one ended; 0: none has

  void succeed(Duration taken, std::int64_t count) noexcept;
  void fail(Duration taken, FailureReason reason) noexcept;
};

class ServedModel {
 public:
  // The tensors are the dispatcher's, in its order. max_batch_size: of dimension 0, which all
  // inputs have in common then; 0: no batches. Throws InputError that names a tensor that differs
  // from the dispatcher's.
  ServedModel(std::string name, std::string version, std::shared_ptr<engine::Dispatcher> dispatcher,
              std::vector<ServedTensor> inputs, std::vector<ServedTensor> outputs,
              std::int64_t max_batch_size);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& version() const noexcept { return version_; }
  [[nodiscard]] engine::Dispatcher& dispatcher() const noexcept { return *dispatcher_; }
  [[nodiscard]] std::int64_t max_batch_size() const noexcept { return max_batch_size_; }

  struct Tensor {
    std::string name;
    std::string datatype;
    nvinfer::DataType dtype;
    nvinfer::Dims shape;
    std::string json;  // how an answer begins with it, up to its shape
  };
  [[nodiscard]] const std::vector<Tensor>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<Tensor>& outputs() const noexcept { return outputs_; }
  // How an answer's JSON names the model, up to its outputs.
  [[nodiscard]] const std::string& json() const noexcept { return json_; }

  [[nodiscard]] RequestCounters& counters() const noexcept { return counters_; }

 private:
  const std::string name_;
  const std::string version_;
  const std::shared_ptr<engine::Dispatcher> dispatcher_;
  std::vector<Tensor> inputs_;
  std::vector<Tensor> outputs_;
  const std::int64_t max_batch_size_;
  const std::string json_;
  mutable RequestCounters counters_;
};

}  // namespace fasttrt::serving
