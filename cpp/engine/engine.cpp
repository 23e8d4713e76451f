#include "engine/engine.hpp"

#include <malloc.h>

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "cuda/memory.hpp"
#include "engine/engine_access.hpp"
#include "engine/output_shapes.hpp"
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

Engine::Engine(std::shared_ptr<const nvinfer::Library> library, std::span<const std::byte> plan,
               const EngineOptions& options)
    : library_(std::move(library)), options_(options), sessions_(options.contexts) {
  shared_.device = cuda::PrimaryContext::retain(options.device);
  shared_.pool = std::make_shared<PinnedPool>(shared_.device);
  shared_.wait = options.wait;
  shared_.mapped_limit = options.mapped_limit;
  shared_.exclusion = options.exclusion;
  shared_.ranges = RangeNames(options.name);
  shared_.kernels = SharedKernels::get(options.kernels_key);
  const bool spins = options.wait == WaitPolicy::automatic || options.wait == WaitPolicy::spin;
  shared_.copies = spins ? &CopyPool::instance() : &serial_copier_;
  const cuda::ContextGuard guard(*shared_.device);
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
  shared_.engine = nvinfer::CudaEngine::deserialize(runtime, plan);
  if (shared_.engine == nullptr) {
    throw EngineLoadError(errors.explain(library_->str() + " refused the plan"));
  }
  prepare_weights();
  for (int i = 0; i < shared_.engine->tensor_count(); ++i) {
    const auto name = shared_.engine->tensor_name(i);
    (shared_.engine->is_input(name) ? shared_.inputs : shared_.outputs).push_back(describe(name));
  }
  if (options_.specialization != Specialization::lazy) config_ = make_config();
  shared_.compiles = library_->generation() == nvinfer::Generation::rtx;
  shared_.context_lifetime = shared_.compiles ? options_.context_lifetime : 0;
  shared_.graphs = options_.graphs;
  const bool kernels_change = shared_.compiles && options_.specialization == Specialization::lazy &&
                              std::ranges::any_of(shared_.inputs, [](const IoTensor& input) {
                                return !input.shape.known();
                              });
  if (kernels_change) {  // a graph would keep the slower ones
    if (shared_.graphs == GraphPolicy::required) {
      throw InputError("cuda_graph=True and specialization=\"lazy\" are mutually exclusive");
    }
    shared_.graphs = GraphPolicy::never;
  }
  // A capture and what TensorRT does in the background meanwhile could disturb each other.
  shared_.separates_kernels = shared_.compiles && !kernels_change;
  {
    auto lock = gate_.lock();
    auto session = sessions_.take(lock, [this] { return make_session(); });
    learn_output_shapes(*session);
    sessions_.give_back(std::move(session));
  }
  if (config_ != nullptr) options_.runtime_cache = {};  // it is read
}

Engine::~Engine() { close(); }

IoTensor Engine::describe(const std::string& name) const {
  if (const auto format = shared_.engine->unusual_format(name); !format.empty()) {
    throw EngineLoadError(name + " is not laid out row by row but as \"" + format +
                          "\", which fasttrt does not support");
  }
  IoTensor tensor;
  tensor.name = name;
  tensor.dtype = shared_.engine->dtype(name);
  tensor.shape = shared_.engine->shape(name);
  tensor.on_host = shared_.engine->is_on_host(name);
  if (!shared_.engine->is_input(name)) return tensor;
  for (int profile = 0; profile < shared_.engine->profile_count(); ++profile) {
    const auto shape = [&](Selector selector) {
      const auto dims = shared_.engine->profile_shape(name, profile, selector);
      return dims.known() ? dims : tensor.shape;
    };
    const auto values = [&](Selector selector) -> std::vector<std::int64_t> {
      if (!tensor.on_host || !tensor.shape.known()) return {};
      return shared_.engine->profile_values(name, profile, selector,
                                            static_cast<std::size_t>(tensor.shape.volume()));
    };
    tensor.profiles.push_back({shape(Selector::min), shape(Selector::opt), shape(Selector::max),
                               values(Selector::min), values(Selector::opt),
                               values(Selector::max)});
  }
  tensor.shape = open_shape(tensor);
  return tensor;
}

// Not of an engine with shape tensors, whose outputs depend on values as well.
void Engine::learn_output_shapes(Session& session) {
  if (std::ranges::any_of(shared_.inputs, &IoTensor::on_host)) return;
  const cuda::DeviceBuffer nothing(shared_.device, 1);  // an address, to which no run is queued
  open_output_shapes(shared_.inputs, shared_.outputs, [&](std::span<const Dims> shapes) {
    std::vector<InputArray> arrays;
    for (const auto& shape : shapes) arrays.push_back({nothing.data(), shape, Place::device});
    return session.infer_shapes(arrays, choose_profile(shared_.inputs, arrays), std::nullopt);
  });
}

// Contexts that compile in the background cannot share what they compiled: a config is of one of
// them then, with a cache of its own.
std::shared_ptr<nvinfer::RuntimeConfig> Engine::make_config() {
  const bool is_shared = options_.specialization != Specialization::lazy;
  auto& kernels = *shared_.kernels;
  const std::lock_guard lock(kernels.compiling);
  const auto known = is_shared ? kernels.cache.lock() : nullptr;
  auto config = nvinfer::RuntimeConfig::create(shared_.engine, known);
  if (config == nullptr) return nullptr;
  config->set_specialization(strategy(options_.specialization));
  if (shared_.engine->profile_count() > 1) config->lend_scratch();  // see SessionContext
  const auto& stored = options_.runtime_cache;
  if (known != nullptr) {
    kernels.has_news = kernels.has_news || stored.empty();
    return config;
  }
  const bool is_read = !stored.empty() && config->cache()->deserialize(stored);
  if (!is_shared) return config;
  if (!is_read || kernels.has_news) kernels.sizes.clear();  // what they had has gone
  kernels.has_news = !is_read;
  kernels.cache = config->cache();
  if (!options_.kernels_key.empty()) kernels.kept = config->cache();
  return config;
}

std::unique_ptr<Session> Engine::make_session() {
  RuntimeConfigs configs;
  const int profiles = std::max(shared_.engine->profile_count(), 1);
  for (int i = 0; i < profiles; ++i) {
    configs.push_back(config_ != nullptr ? config_ : make_config());
  }
  return std::make_unique<Session>(shared_, std::move(configs));
}

void Engine::infer(std::span<const InputArray> arrays, std::span<OutputArray> results,
                   std::optional<cuda::StreamRef> stream) {
  try {
    run(arrays, results, stream);
  } catch (const std::exception& error) {
    count_error(error);
    throw;
  }
}

void Engine::run(std::span<const InputArray> arrays, std::span<OutputArray> results,
                 std::optional<cuda::StreamRef> stream) {
  const auto profile = choose_profile(shared_.inputs, arrays);
  const SessionLease session(*this);
  session->run(arrays, profile, results, stream);
}

void Engine::warm_up(std::span<const InputArray> arrays) {
  const auto profile = choose_profile(shared_.inputs, arrays);
  std::uint64_t round = 0;
  {
    const auto lock = gate_.lock();
    round = ++warmup_rounds_;
  }
  for (int i = 0; i < options_.contexts; ++i) {
    const SessionLease session(*this, round);
    if (!session) return;
    session->warmup_round = round;
    session->warm_up(arrays, profile);
  }
}

std::vector<Dims> Engine::infer_shapes(std::span<const InputArray> arrays,
                                       std::optional<cuda::StreamRef> stream) {
  const auto profile = choose_profile(shared_.inputs, arrays);
  const SessionLease session(*this);
  return session->infer_shapes(arrays, profile, stream);
}

std::vector<double> Engine::time_replays(std::span<const InputArray> arrays, std::size_t count) {
  const auto profile = choose_profile(shared_.inputs, arrays);
  const SessionLease session(*this);
  return session->time_replays(profile, arrays, count);
}

PhaseTimes Engine::time_phases(std::span<const InputArray> arrays, std::size_t count) {
  const auto profile = choose_profile(shared_.inputs, arrays);
  const SessionLease session(*this);
  return session->time_phases(profile, arrays, count);
}

std::vector<LayerTimes> Engine::time_layers(std::span<const InputArray> arrays, std::size_t count) {
  const auto profile = choose_profile(shared_.inputs, arrays);
  const SessionLease session(*this);
  return session->time_layers(profile, arrays, count);
}

RunCounts Engine::counts() const {
  const auto lock = gate_.lock();
  return counts_;
}

void Engine::count_error(const std::exception& error) noexcept {
  const auto lock = gate_.lock();
  counts_.add_error(error);
}

MemoryHeld Engine::memory() const {
  return {shared_.memory.device, shared_.memory.pinned + shared_.pool->idle_bytes()};
}

void Engine::close() noexcept {
  auto lock = gate_.lock();
  sessions_.close();
  gate_.close(lock);
  if (shared_.device == nullptr) return;
  {
    const cuda::ContextGuard guard(*shared_.device, std::nothrow);
    sessions_.clear();
    config_.reset();
    shared_.engine.reset();
  }
  shared_.pool->close();  // results that are still in use hold it
  shared_.device.reset();
#ifdef __GLIBC__
  malloc_trim(0);  // TensorRT has freed up to hundreds of MiB, which malloc would keep
#endif
}

bool Engine::closed() const {
  const auto lock = gate_.lock();
  return gate_.is_closed();
}

}  // namespace fasttrt::engine
