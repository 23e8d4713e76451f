#include "engine/plan_builder.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "common/error.hpp"
#include "nvinfer/logger.hpp"

namespace fasttrt::engine {
namespace {

namespace enums = nvinfer::enums;
using nvinfer::Selector;

NetworkTensor describe(const nvinfer::Tensor& tensor) {
  NetworkTensor result{tensor.name(), tensor.dtype(), tensor.dims(), {}, tensor.is_shape_tensor()};
  for (int axis = 0; axis < result.shape.rank(); ++axis) {
    result.dimension_names.push_back(tensor.dimension_name(axis));
  }
  return result;
}

Dims to_dims(const std::vector<std::int64_t>& sizes) {
  Dims dims(static_cast<int>(sizes.size()));
  for (int i = 0; i < dims.rank(); ++i) dims[i] = sizes[static_cast<std::size_t>(i)];
  return dims;
}

// Runs set() and names the option where the library lacks it.
template <class Set>
void option(const char* name, const nvinfer::Library& library, const Set& set) {
  try {
    set();
  } catch (const UnsupportedLibraryError& error) {
    throw BuildError(std::string(name) + " is not an option of " + library.str() + " (" +
                     error.what() + ")");
  }
}

}  // namespace

PlanBuilder::PlanBuilder(std::shared_ptr<const nvinfer::Library> library, std::optional<int> device)
    : library_(std::move(library)) {
  if (!library_->can_build()) {
    throw UnsupportedLibraryError(library_->str() + " cannot build engines; it only runs them");
  }
  if (!library_->can_parse()) throw UnsupportedLibraryError(library_->parser_problem());
  std::optional<cuda::ContextGuard> guard;
  if (device) {
    device_ = cuda::PrimaryContext::retain(*device);
    guard.emplace(*device_);
  }
  builder_ = nvinfer::Builder::create(library_);
  network_ = nvinfer::Builder::create_network(builder_);
  parser_ = nvinfer::Parser::create(network_);
}

PlanBuilder::~PlanBuilder() {
  std::optional<cuda::ContextGuard> guard;
  if (device_ != nullptr) guard.emplace(*device_, std::nothrow);
  parser_.reset();
  network_.reset();
  builder_.reset();
}

void PlanBuilder::check(bool parsed, const nvinfer::ErrorScope& errors,
                        const std::string& what) const {
  if (parsed && network_->output_count() > 0) return;
  auto issues = parser_->issues();
  // A node's issue says all; of others (a weight, a file) the log knows more.
  if (std::ranges::none_of(issues, [](const ParserIssue& issue) { return issue.node >= 0; })) {
    issues.push_back({-1, "", "", errors.explain(what)});
  }
  throw ParseError(library_->str() + " cannot parse the model", std::move(issues));
}

void PlanBuilder::parse_file(const std::string& path) {
  std::optional<cuda::ContextGuard> guard;  // plugins may look at the device
  if (device_ != nullptr) guard.emplace(*device_);
  const nvinfer::ErrorScope errors;
  const bool parsed = parser_->parse_file(path);
  check(parsed, errors, "reading " + path);
}

void PlanBuilder::parse(std::span<const std::byte> model, const std::string& base) {
  std::optional<cuda::ContextGuard> guard;  // plugins may look at the device
  if (device_ != nullptr) guard.emplace(*device_);
  const nvinfer::ErrorScope errors;
  const bool parsed = parser_->parse(model, base);
  check(parsed, errors, "reading the model");
}

std::vector<NetworkTensor> PlanBuilder::inputs() const {
  std::vector<NetworkTensor> result;
  result.reserve(static_cast<std::size_t>(network_->input_count()));
  for (int i = 0; i < network_->input_count(); ++i) result.push_back(describe(network_->input(i)));
  return result;
}

std::vector<NetworkTensor> PlanBuilder::outputs() const {
  std::vector<NetworkTensor> result;
  result.reserve(static_cast<std::size_t>(network_->output_count()));
  for (int i = 0; i < network_->output_count(); ++i) {
    result.push_back(describe(network_->output(i)));
  }
  return result;
}

int PlanBuilder::layer_count() const { return network_->layer_count(); }

std::map<DataType, int> PlanBuilder::tensor_types() const {
  std::map<DataType, int> counts;
  for (int layer = 0; layer < network_->layer_count(); ++layer) {
    for (const auto& tensor : network_->layer_outputs(layer)) ++counts[tensor.dtype()];
  }
  return counts;
}

bool PlanBuilder::can_cancel() const {
  return library_->has(nvinfer::methods::config_set_progress_monitor);
}

nvinfer::Tensor PlanBuilder::find_input(const std::string& name) const {
  for (int i = 0; i < network_->input_count(); ++i) {
    auto tensor = network_->input(i);
    if (tensor.name() == name) return tensor;
  }
  throw InputError("the network has no input " + name);
}

void PlanBuilder::apply(const BuildOptions& options, nvinfer::BuilderConfig& config) const {
  const auto& library = *library_;
  if (options.workspace) config.set_workspace(*options.workspace);
  if (options.optimization_level) config.set_optimization_level(*options.optimization_level);
  if (options.max_aux_streams) config.set_max_aux_streams(*options.max_aux_streams);
  option("tf32", library, [&] { config.set_flag(enums::builder_flag_tf32, options.tf32); });
  if (options.profiling_verbosity == "names") {
    config.set_profiling_verbosity(enums::profiling_names);
  } else if (options.profiling_verbosity == "none") {
    config.set_profiling_verbosity(enums::profiling_none);
  } else if (options.profiling_verbosity == "detailed") {
    config.set_profiling_verbosity(enums::profiling_detailed);
  }
  option("hardware_compatibility", library, [&] {
    if (options.hardware_compatibility == "ampere_plus") {
      config.set_hardware_compatibility(enums::hardware_ampere_plus);
    } else if (options.hardware_compatibility == "same_compute_capability") {
      config.set_hardware_compatibility(enums::hardware_same_compute_capability);
    }
  });
  if (options.version_compatible) {
    config.set_flag(enums::builder_flag_version_compatible, true);
  }
  if (options.exclude_lean_runtime) {
    config.set_flag(enums::builder_flag_exclude_lean_runtime, true);
  }
  if (options.fp16) {
    option("fp16", library, [&] { config.set_flag(enums::builder_flag_fp16, true); });
  }
  if (options.quantized && library.has(enums::builder_flag_int8)) {
    config.set_flag(enums::builder_flag_int8, true);
  }
  if (options.refit) config.set_flag(enums::builder_flag_refit, true);
  if (options.strip_weights) {
    option("strip_weights", library,
           [&] { config.set_flag(enums::builder_flag_strip_plan, true); });
  }
  if (options.weight_streaming) {
    option("weight_streaming", library,
           [&] { config.set_flag(enums::builder_flag_weight_streaming, true); });
  }
  if (!options.compute_capabilities.empty()) {
    option("compute_capabilities", library,
           [&] { config.set_compute_capabilities(options.compute_capabilities); });
  }
  // Contexts of one engine may then use one profile at a time; always so from v10 on.
  if (library.has(enums::preview_profile_sharing)) {
    config.set_preview_feature(enums::preview_profile_sharing, true);
  }
}

void PlanBuilder::add_profile(const Profile& profile, nvinfer::BuilderConfig& config) {
  auto target = builder_->create_profile();
  for (const auto& range : profile) {
    const bool values = find_input(range.name).is_shape_tensor();
    const nvinfer::ErrorScope errors;
    const auto set = [&](Selector selector, const std::vector<std::int64_t>& sizes) {
      const bool accepted = values ? target.set_shape_values(range.name, selector, sizes)
                                   : target.set_dimensions(range.name, selector, to_dims(sizes));
      if (!accepted) {
        throw InputError(errors.explain(range.name + ": " + to_dims(sizes).str() +
                                        " was refused for its profile"));
      }
    };
    set(Selector::min, range.min);
    set(Selector::opt, range.opt);
    set(Selector::max, range.max);
  }
  const nvinfer::ErrorScope errors;
  if (!target.is_valid() || !config.add_profile(target)) {
    throw InputError(errors.explain("the profile's ranges are not valid"));
  }
}

// TensorRT 8.6 cannot tell the inputs of an engine with fixed shapes and data-dependent outputs
// unless it was built with a profile.
Profile PlanBuilder::fixed_profile() const {
  Profile profile;
  for (const auto& input : inputs()) {
    const std::vector<std::int64_t> sizes(input.shape.begin(), input.shape.end());
    profile.push_back({input.name, sizes, sizes, sizes});
  }
  return profile;
}

BuiltPlan PlanBuilder::build(const BuildOptions& options, std::span<const Profile> profiles,
                             nvinfer::ProgressListener& listener) {
  std::optional<cuda::ContextGuard> guard;
  if (device_ != nullptr) guard.emplace(*device_);
  nvinfer::ProgressMonitor monitor(listener);  // outlives the config
  auto config = nvinfer::Builder::create_config(builder_);
  apply(options, *config);
  for (const auto& profile : profiles) add_profile(profile, *config);
  if (profiles.empty() && library_->generation() == nvinfer::Generation::v8) {
    add_profile(fixed_profile(), *config);
  }
  if (can_cancel()) config->set_progress_monitor(monitor);
  std::unique_ptr<nvinfer::TimingCache> cache;  // outlives the build
  if (options.use_timing_cache) {
    const nvinfer::ErrorScope errors;
    cache = config->use_timing_cache(options.timing_cache);
    if (cache == nullptr) {
      throw BuildError(
          errors.explain("timing_cache was refused (made by another release or GPU?)"));
    }
  }
  const nvinfer::ErrorScope errors;
  BuiltPlan result{builder_->build(*network_, *config), nullptr};
  if (listener.cancelled()) throw BuildInterrupted("the build was stopped");
  if (result.plan == nullptr) {
    throw BuildError(errors.explain(library_->str() + " could not build the engine"));
  }
  if (options.use_timing_cache) result.timing_cache = config->serialize_timing_cache();
  return result;
}

}  // namespace fasttrt::engine
