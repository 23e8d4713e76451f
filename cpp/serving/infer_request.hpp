// A plain infer request, from the body that it came in to its answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/ref.hpp"
#include "engine/request.hpp"
#include "serving/control_queue.hpp"
#include "serving/infer_header.hpp"
#include "serving/infer_waiter.hpp"
#include "serving/model_table.hpp"
#include "serving/request_body.hpp"
#include "serving/shared_memory_table.hpp"

namespace fasttrt::serving {

class InferRequest;
using InferRequestRef = Ref<InferRequest>;

// Why a request has no results.
struct InferFailure {
  // unavailable: later it may have some; invalid: its arrays are wrong.
  enum class Kind : std::uint8_t { unavailable, invalid, internal };
  Kind kind;
  std::string text;
};

// An output that was asked for.
struct InferResult {
  const ServedModel::Tensor* tensor;
  nvinfer::Dims shape;
  std::string_view bytes;  // the request's memory
  bool is_shared;          // its client has it already, in shared memory
};

// Its inputs lie in the body as they came, or are copied from shared memory.
class InferRequest final : public engine::Request {
 public:
  // Takes the body, the first `json_bytes` of which are JSON; null, and the body stays, where the
  // request is not plain or does not fit the model: then somebody else answers it. `header` is for
  // this function to work with. shared_memory: null: there is none.
  [[nodiscard]] static InferRequestRef make(const ServedModelPtr& model, RequestBody& body,
                                            std::size_t json_bytes, InferHeader& header,
                                            const SharedMemoryTable* shared_memory);
  // The same for a header that is read, with the data of its inputs.
  [[nodiscard]] static InferRequestRef make(const ServedModelPtr& model, RequestBody& body,
                                            const InferHeader& header,
                                            const SharedMemoryTable* shared_memory);

  [[nodiscard]] std::span<const engine::InputArray> inputs() const noexcept override {
    return inputs_;
  }
  [[nodiscard]] std::span<engine::OutputArray> outputs() noexcept override { return outputs_; }

  [[nodiscard]] const ServedModel& model() const noexcept { return *model_; }
  [[nodiscard]] std::string_view id() const noexcept { return id_; }
  [[nodiscard]] Clock::time_point received_at() const noexcept { return received_at_; }

  // Once it is done: counts it with those of its model, and says why it failed, if it has.
  [[nodiscard]] std::optional<InferFailure> conclude();
  // Of one that has not failed, in the order in which they were asked for.
  [[nodiscard]] std::vector<InferResult> results() const;
  // A full queue has refused it.
  void count_as_rejected() const;
  // Nobody waits for the answer any more.
  void count_as_canceled() const;
  // Whether the device has failed, and what it said.
  [[nodiscard]] bool is_engine_lost() const noexcept;
  [[nodiscard]] EngineFailure engine_failure() const;
  // The body, for somebody else to answer the request; nothing may use its arrays any more.
  [[nodiscard]] RequestBody take_body() noexcept { return std::move(body_); }

  InferWaiter* waiter = nullptr;  // null once the client has gone; the event loop's

 private:
  InferRequest(ServedModelPtr model, Clock::time_point now)
      : model_(std::move(model)), received_at_(now) {}

  // An output that was asked for, and where it goes in shared memory.
  struct Wanted {
    std::size_t index = 0;
    SharedMemoryRegionPtr region;  // null: into the answer
    std::size_t offset = 0;
    std::size_t max_bytes = 0;
  };

  [[nodiscard]] bool place_inputs(const InferHeader& header,
                                  const SharedMemoryTable* shared_memory);
  [[nodiscard]] bool place_input(const InferHeader::Input& input,
                                 const SharedMemoryTable* shared_memory);
  [[nodiscard]] bool copy_shared(const InferHeader::Input& input,
                                 const SharedMemoryTable* shared_memory);
  [[nodiscard]] bool select_outputs(const InferHeader& header,
                                    const SharedMemoryTable* shared_memory);
  [[nodiscard]] bool is_batch_valid() const noexcept;
  [[nodiscard]] Clock::duration taken() const { return Clock::now() - received_at_; }

  // infer_request_answer.cpp
  [[nodiscard]] std::size_t byte_size_of(const Wanted& wanted) const noexcept;
  void share(const Wanted& wanted) const;
  [[nodiscard]] InferFailure failure(const std::exception_ptr& error) const;

  const ServedModelPtr model_;
  const Clock::time_point received_at_;
  RequestBody body_;
  std::string_view id_;
  std::vector<engine::HostBuffer> aligned_;  // inputs that lay where arrays cannot be read
  std::vector<RegionCopy> copies_;           // inputs that lay in shared memory
  std::vector<engine::InputArray> inputs_;
  std::vector<engine::OutputArray> outputs_;
  std::vector<Wanted> wanted_;  // in the order in which they are returned
};

}  // namespace fasttrt::serving
