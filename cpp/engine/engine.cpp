#include "engine/engine.hpp"

#include <new>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

using nvinfer::Selector;

Engine::Engine(std::shared_ptr<const nvinfer::Library> library, std::span<const std::byte> plan,
               const EngineOptions& options)
    : library_(std::move(library)),
      ordinal_(options.device),
      device_(cuda::PrimaryContext::retain(options.device)),
      session_limit_(options.contexts) {
  const cuda::ContextGuard guard(*device_);
  try {
    load(plan, options);
  } catch (...) {
    close();  // while the device is current
    throw;
  }
}

void Engine::load(std::span<const std::byte> plan, const EngineOptions& options) {
  const nvinfer::ErrorScope errors;
  auto runtime = nvinfer::Runtime::create(library_);
  if (options.allow_host_code) runtime->allow_engine_host_code();
  engine_ = nvinfer::CudaEngine::deserialize(runtime, plan);
  if (engine_ == nullptr) {
    throw EngineLoadError(errors.explain(library_->str() + " refused the plan"));
  }
  for (int i = 0; i < engine_->tensor_count(); ++i) {
    const auto name = engine_->tensor_name(i);
    (engine_->is_input(name) ? inputs_ : outputs_).push_back(describe(name));
  }
  idle_.reserve(static_cast<std::size_t>(session_limit_));  // giving one back must not fail
  idle_.push_back(make_session());
  session_count_ = 1;
}

Engine::~Engine() { close(); }

IoTensor Engine::describe(const std::string& name) const {
  if (const auto format = engine_->unusual_format(name); !format.empty()) {
    throw EngineLoadError(name + " is not laid out row by row but as \"" + format +
                          "\", which fasttrt does not support");
  }
  IoTensor tensor;
  tensor.name = name;
  tensor.dtype = engine_->dtype(name);
  tensor.shape = engine_->shape(name);
  tensor.on_host = engine_->is_on_host(name);
  if (!engine_->is_input(name)) return tensor;
  for (int profile = 0; profile < engine_->profile_count(); ++profile) {
    const auto shape = [&](Selector selector) {
      const auto dims = engine_->profile_shape(name, profile, selector);
      return dims.known() ? dims : tensor.shape;
    };
    const auto values = [&](Selector selector) -> std::vector<std::int64_t> {
      if (!tensor.on_host || !tensor.shape.known()) return {};
      return engine_->profile_values(name, profile, selector,
                                     static_cast<std::size_t>(tensor.shape.volume()));
    };
    tensor.profiles.push_back({shape(Selector::min), shape(Selector::opt), shape(Selector::max),
                               values(Selector::min), values(Selector::opt),
                               values(Selector::max)});
  }
  return tensor;
}

int Engine::layer_count() const {
  const std::lock_guard lock(mutex_);
  if (closed_) throw Error("the engine is closed");
  return engine_->layer_count();
}

std::unique_ptr<Session> Engine::make_session() const {
  return std::make_unique<Session>(engine_, device_, inputs_, outputs_);
}

// Takes a session for the time of a run: an idle one, a new one while there may be more, or else
// the next that becomes idle.
class Engine::Lease {
 public:
  explicit Lease(Engine& engine) : engine_(engine) {
    std::unique_lock lock(engine_.mutex_);
    engine_.changed_.wait(lock, [&] {
      return engine_.closed_ || !engine_.idle_.empty() ||
             engine_.session_count_ < engine_.session_limit_;
    });
    if (engine_.closed_) throw Error("the engine is closed");
    guard_.emplace(*engine_.device_);
    ++engine_.busy_;
    if (!engine_.idle_.empty()) {
      session_ = std::move(engine_.idle_.back());
      engine_.idle_.pop_back();
      return;
    }
    ++engine_.session_count_;
    lock.unlock();
    try {
      session_ = engine_.make_session();
    } catch (...) {
      lock.lock();
      guard_.reset();
      --engine_.session_count_;
      --engine_.busy_;
      engine_.changed_.notify_all();
      throw;
    }
  }
  ~Lease() {
    // Under the lock, so that close() cannot be over before this thread is done with the engine.
    const std::lock_guard lock(engine_.mutex_);
    guard_.reset();
    engine_.idle_.push_back(std::move(session_));
    --engine_.busy_;
    engine_.changed_.notify_all();
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Session* operator->() const noexcept { return session_.get(); }

 private:
  Engine& engine_;
  std::optional<cuda::ContextGuard> guard_;  // the device is current during the run
  std::unique_ptr<Session> session_;
};

void Engine::infer(std::span<const HostInput> arrays, std::span<HostOutput> results) {
  const auto profile = choose_profile(inputs_, arrays);
  const Lease session(*this);
  session->run(arrays, profile, results);
}

std::unique_ptr<nvinfer::HostMemory> Engine::serialize() const {
  const std::lock_guard lock(mutex_);
  if (closed_) throw Error("the engine is closed");
  const cuda::ContextGuard guard(*device_);
  const nvinfer::ErrorScope errors;
  auto memory = engine_->serialize();
  if (memory == nullptr) throw Error(errors.explain("the engine could not be serialized"));
  return memory;
}

void Engine::close() noexcept {
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return busy_ == 0; });
  if (device_ == nullptr) return;
  {
    const cuda::ContextGuard guard(*device_, std::nothrow);
    idle_.clear();
    engine_.reset();
  }
  device_.reset();
}

bool Engine::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace fasttrt::engine
