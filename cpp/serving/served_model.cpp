#include "serving/served_model.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "common/error.hpp"
#include "serving/datatype.hpp"
#include "serving/json_text.hpp"

namespace fasttrt::serving {
namespace {

using engine::IoTensor;

std::uint64_t count_of(RequestCounters::Duration taken) noexcept {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(taken.count(), 0));
}

std::int64_t milliseconds_now() noexcept {
  using std::chrono::milliseconds;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<milliseconds>(now).count();
}

std::vector<ServedModel::Tensor> check(std::vector<ServedTensor> served,
                                       std::span<const IoTensor> engine, const char* kind) {
  if (served.size() != engine.size()) {
    throw InputError(std::string("the engine has ") + std::to_string(engine.size()) + " " + kind +
                     "s, got " + std::to_string(served.size()));
  }
  std::vector<ServedModel::Tensor> tensors;
  for (std::size_t i = 0; i < served.size(); ++i) {
    auto& [name, datatype, shape] = served[i];
    const auto type = to_data_type(datatype);
    if (type != engine[i].dtype) {
      auto text = name + ": the engine's dtype is ";
      text += nvinfer::dtype_name(engine[i].dtype);
      text.append(", got datatype ").append(datatype);
      throw InputError(text);
    }
    if (shape.rank() != engine[i].shape.rank()) {
      throw InputError(name + ": the engine's shape is " + engine[i].shape.str() + ", got " +
                       shape.str());
    }
    std::string json = R"({"name":)";
    json.append(json_string(name)).append(R"(,"datatype":)").append(json_string(datatype));
    json += R"(,"shape":[)";
    tensors.push_back({std::move(name), std::move(datatype), *type, shape, std::move(json)});
  }
  return tensors;
}

}  // namespace

void RequestCounters::succeed(Duration taken, std::int64_t count) noexcept {
  ++success;
  success_ns += count_of(taken);
  latency.add(taken);
  rows += static_cast<std::uint64_t>(count);
  last_ms = milliseconds_now();
}

void RequestCounters::fail(Duration taken, FailureReason reason) noexcept {
  ++failures.at(static_cast<std::size_t>(reason));
  fail_ns += count_of(taken);
  last_ms = milliseconds_now();
}

ServedModel::ServedModel(std::string name, std::string version,
                         std::shared_ptr<engine::Dispatcher> dispatcher,
                         std::vector<ServedTensor> inputs, std::vector<ServedTensor> outputs,
                         std::int64_t max_batch_size)
    : name_(std::move(name)),
      version_(std::move(version)),
      dispatcher_(std::move(dispatcher)),
      inputs_(check(std::move(inputs), dispatcher_->tensors().inputs, "input")),
      outputs_(check(std::move(outputs), dispatcher_->tensors().outputs, "output")),
      max_batch_size_(max_batch_size),
      json_(R"("model_name":)" + json_string(name_) + R"(,"model_version":)" +
            json_string(version_) + R"(,"outputs":[)") {}

}  // namespace fasttrt::serving
