#include "engine/engine.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {

using nvinfer::Selector;
namespace {

const nvinfer::Enumerator& strategy(Specialization specialization) {
  switch (specialization) {
    case Specialization::eager: return nvinfer::enums::specialization_eager;
    case Specialization::lazy: return nvinfer::enums::specialization_lazy;
    case Specialization::none: break;
  }
  return nvinfer::enums::specialization_none;
}

}  // namespace

// A thread that waits for a session.
struct Engine::Waiting {
  std::condition_variable ready;
  std::unique_ptr<Session> session;
};

// Takes a session for the time of a run: an idle one, a new one while there may be more, or else
// the next that becomes idle.
class Engine::Lease {
 public:
  explicit Lease(Engine& engine) : engine_(engine) {
    std::unique_lock lock(engine_.mutex_);
    engine_.enter(lock);
    if (!engine_.broken_.empty()) throw Error(engine_.broken_);
    guard_.emplace(*engine_.setup_.device);
    ++engine_.busy_;
    if (!engine_.idle_.empty()) {
      session_ = std::move(engine_.idle_.back());
      engine_.idle_.pop_back();
    } else if (engine_.session_count_ < engine_.options_.contexts) {
      ++engine_.session_count_;
      lock.unlock();
      make();
    } else {
      wait(lock);
    }
  }
  ~Lease() {
    // Under the lock, so that close() cannot be over before this thread is done with the engine.
    const std::lock_guard lock(engine_.mutex_);
    guard_.reset();
    engine_.release(std::move(session_));
    engine_.leave();
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Session* operator->() const noexcept { return session_.get(); }

 private:
  void make() {
    try {
      session_ = engine_.make_session();
    } catch (...) {
      const std::lock_guard lock(engine_.mutex_);
      guard_.reset();
      // Who waits waits for a session to be given back. If there is none, it has to try itself.
      if (--engine_.session_count_ == 0 && !engine_.waiting_.empty()) {
        engine_.waiting_.front()->ready.notify_one();
      }
      engine_.leave();
      throw;
    }
  }
  void wait(std::unique_lock<std::mutex>& lock) {
    Waiting self;
    try {
      engine_.waiting_.push_back(&self);
    } catch (...) {
      guard_.reset();
      engine_.leave();
      throw;
    }
    self.ready.wait(lock, [&] {
      return self.session != nullptr || engine_.closed_ || engine_.session_count_ == 0;
    });
    session_ = std::move(self.session);
    if (session_ != nullptr) return;
    std::erase(engine_.waiting_, &self);
    if (!engine_.closed_) {
      ++engine_.session_count_;
      lock.unlock();
      make();
      return;
    }
    guard_.reset();
    engine_.leave();
    throw Error("the engine is closed");
  }

  Engine& engine_;
  std::optional<cuda::ContextGuard> guard_;  // the device is current during the run
  std::unique_ptr<Session> session_;
};

Engine::Engine(std::shared_ptr<const nvinfer::Library> library, std::span<const std::byte> plan,
               const EngineOptions& options)
    : library_(std::move(library)), options_(options) {
  setup_.device = cuda::PrimaryContext::retain(options.device);
  setup_.pool = std::make_shared<PinnedPool>(setup_.device);
  setup_.wait = options.wait;
  setup_.mapped_limit = options.mapped_limit;
  setup_.undisturbed = options.undisturbed;
  const bool spins = options.wait == WaitPolicy::automatic || options.wait == WaitPolicy::spin;
  setup_.copies = spins ? &CopyPool::instance() : &lone_copies_;
  const cuda::ContextGuard guard(*setup_.device);
  try {
    load(plan);
  } catch (...) {
    close();  // while the device is current
    throw;
  }
}

void Engine::load(std::span<const std::byte> plan) {
  const nvinfer::ErrorScope errors;
  auto runtime = nvinfer::Runtime::create(library_);
  if (options_.allow_host_code) runtime->allow_engine_host_code();
  setup_.engine = nvinfer::CudaEngine::deserialize(runtime, plan);
  if (setup_.engine == nullptr) {
    throw EngineLoadError(errors.explain(library_->str() + " refused the plan"));
  }
  prepare_weights();
  for (int i = 0; i < setup_.engine->tensor_count(); ++i) {
    const auto name = setup_.engine->tensor_name(i);
    (setup_.engine->is_input(name) ? setup_.inputs : setup_.outputs).push_back(describe(name));
  }
  // Contexts that compile in the background cannot share what they compiled, see SessionSetup.
  if (options_.specialization != Specialization::lazy) config_ = make_config();
  setup_.compiles = library_->generation() == nvinfer::Generation::rtx;
  setup_.context_lifetime = setup_.compiles ? options_.context_lifetime : 0;
  setup_.graphs = options_.graphs;
  const bool kernels_change = setup_.compiles && options_.specialization == Specialization::lazy &&
                              std::ranges::any_of(setup_.inputs, [](const IoTensor& input) {
                                return !input.shape.known();
                              });
  if (kernels_change) {  // a graph would keep the slower ones
    if (setup_.graphs == GraphPolicy::required) {
      throw InputError("cuda_graph=True and specialization=\"lazy\" exclude each other");
    }
    setup_.graphs = GraphPolicy::never;
  }
  const auto most = static_cast<std::size_t>(options_.contexts);
  idle_.reserve(most);  // giving one back must not fail
  idle_.push_back(make_session());
  session_count_ = 1;
  if (config_ != nullptr) options_.runtime_cache = {};  // it is read
  if (options_.batching) {
    const auto with_session = [this](const std::function<void(const Run&)>& work) {
      const Lease session(*this);
      work([&](std::span<const InputArray> arrays, std::span<OutputArray> results) {
        session->run(arrays, choose_profile(setup_.inputs, arrays), results, std::nullopt);
      });
    };
    batcher_.emplace(setup_.inputs, setup_.outputs, setup_.pool, with_session, *options_.batching);
  }
}

Engine::~Engine() { close(); }

IoTensor Engine::describe(const std::string& name) const {
  if (const auto format = setup_.engine->unusual_format(name); !format.empty()) {
    throw EngineLoadError(name + " is not laid out row by row but as \"" + format +
                          "\", which fasttrt does not support");
  }
  IoTensor tensor;
  tensor.name = name;
  tensor.dtype = setup_.engine->dtype(name);
  tensor.shape = setup_.engine->shape(name);
  tensor.on_host = setup_.engine->is_on_host(name);
  if (!setup_.engine->is_input(name)) return tensor;
  for (int profile = 0; profile < setup_.engine->profile_count(); ++profile) {
    const auto shape = [&](Selector selector) {
      const auto dims = setup_.engine->profile_shape(name, profile, selector);
      return dims.known() ? dims : tensor.shape;
    };
    const auto values = [&](Selector selector) -> std::vector<std::int64_t> {
      if (!tensor.on_host || !tensor.shape.known()) return {};
      return setup_.engine->profile_values(name, profile, selector,
                                           static_cast<std::size_t>(tensor.shape.volume()));
    };
    tensor.profiles.push_back({shape(Selector::min), shape(Selector::opt), shape(Selector::max),
                               values(Selector::min), values(Selector::opt),
                               values(Selector::max)});
  }
  return tensor;
}

std::shared_ptr<nvinfer::RuntimeConfig> Engine::make_config() const {
  auto config = nvinfer::RuntimeConfig::create(setup_.engine, options_.runtime_cache);
  if (config != nullptr) config->set_specialization(strategy(options_.specialization));
  return config;
}

std::unique_ptr<Session> Engine::make_session() {
  return std::make_unique<Session>(setup_, config_ != nullptr ? config_ : make_config());
}

// Hands a session to who has waited longest. Needs the lock.
void Engine::release(std::unique_ptr<Session> session) noexcept {
  if (waiting_.empty() || closed_) {
    idle_.push_back(std::move(session));
    return;
  }
  auto* const next = waiting_.front();
  waiting_.pop_front();
  next->session = std::move(session);
  next->ready.notify_one();
}

void Engine::infer(std::span<const InputArray> arrays, std::span<OutputArray> results,
                   std::optional<cuda::StreamRef> stream, InputsRead* inputs_read) {
  const auto profile = choose_profile(setup_.inputs, arrays);
  if (batcher_ && !stream && batcher_->accepts(arrays, results)) {
    batcher_->infer(arrays, results);
    return;
  }
  const Lease session(*this);
  session->run(arrays, profile, results, stream, inputs_read);
}

std::vector<Dims> Engine::infer_shapes(std::span<const InputArray> arrays,
                                       std::optional<cuda::StreamRef> stream) {
  const auto profile = choose_profile(setup_.inputs, arrays);
  const Lease session(*this);
  return session->infer_shapes(arrays, profile, stream);
}

std::vector<double> Engine::time_replays(std::span<const InputArray> arrays, std::size_t count) {
  const auto profile = choose_profile(setup_.inputs, arrays);
  const Lease session(*this);
  return session->time_replays(profile, arrays, count);
}

PhaseTimes Engine::time_phases(std::span<const InputArray> arrays, std::size_t count) {
  const auto profile = choose_profile(setup_.inputs, arrays);
  const Lease session(*this);
  return session->time_phases(profile, arrays, count);
}

std::vector<LayerTimes> Engine::time_layers(std::span<const InputArray> arrays, std::size_t count) {
  const auto profile = choose_profile(setup_.inputs, arrays);
  const Lease session(*this);
  return session->time_layers(profile, arrays, count);
}

// Waits while a refit is under way. Needs the lock. Throws Error once closed.
void Engine::enter(std::unique_lock<std::mutex>& lock) const {
  idle_changed_.wait(lock, [&] { return closed_ || !refitting_; });
  if (closed_) throw Error("the engine is closed");
}

// Needs the lock, too.
void Engine::leave() const noexcept {
  --busy_;
  idle_changed_.notify_all();
}

void Engine::hurry() noexcept {
  if (batcher_) batcher_->stop_waiting();
}

void Engine::close() noexcept {
  hurry();
  std::unique_lock lock(mutex_);
  closed_ = true;
  for (auto* const waiting : waiting_) waiting->ready.notify_one();
  idle_changed_.wait(lock, [&] { return busy_ == 0; });
  if (setup_.device == nullptr) return;
  {
    const cuda::ContextGuard guard(*setup_.device, std::nothrow);
    idle_.clear();
    config_.reset();
    setup_.engine.reset();
  }
  setup_.pool->close();  // results that are still in use hold it
  setup_.device.reset();
}

bool Engine::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace fasttrt::engine
