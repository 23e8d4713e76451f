#include "nvinfer/refitter.hpp"

#include "nvinfer/logger.hpp"
#include "nvinfer/parser.hpp"

namespace fasttrt::nvinfer {
namespace {

std::vector<std::string> names(const Refitter& refitter,
                               const Method<std::int32_t(std::int32_t, const char**)>& method) {
  const auto count = refitter.call(method, 0, nullptr);
  if (count <= 0) return {};
  std::vector<const char*> found(static_cast<std::size_t>(count));
  (void)refitter.call(method, count, found.data());
  std::vector<std::string> result;
  result.reserve(found.size());
  for (const auto* name : found) result.emplace_back(name != nullptr ? name : "(unnamed)");
  return result;
}

}  // namespace

std::shared_ptr<Refitter> Refitter::create(const std::shared_ptr<CudaEngine>& engine) {
  if (!engine->call(methods::engine_is_refittable)) {
    throw Error("the engine was not built to be refitted: its weights cannot be replaced");
  }
  const ErrorScope errors;
  const auto& library = engine->shared_library();
  void* const object = library->create_refitter(engine->get());
  if (object == nullptr) throw Error(errors.explain("no refitter could be created"));
  return std::make_shared<Refitter>(library, object, engine);
}

std::vector<std::string> Refitter::all_weights() const {
  return names(*this, methods::refitter_get_all_weights);
}

std::vector<std::string> Refitter::missing_weights() const {
  return names(*this, methods::refitter_get_missing_weights);
}

bool Refitter::apply() { return call(methods::refitter_refit); }

std::unique_ptr<ParserRefitter> ParserRefitter::create(const std::shared_ptr<Refitter>& refitter) {
  const auto& library = refitter->shared_library();
  const ErrorScope errors;
  void* const object = library->create_parser_refitter(refitter->get());
  if (object == nullptr) {
    throw UnsupportedLibraryError(errors.explain("the ONNX parser " + library->parser_path() +
                                                 " cannot refit engines of " + library->str()));
  }
  return std::make_unique<ParserRefitter>(library, object, refitter,
                                          parser_refitter_deleting_destructor);
}

bool ParserRefitter::read_file(const std::string& path) {
  return call_direct(methods::parser_refitter_refit_file, path.c_str());
}

bool ParserRefitter::read(std::span<const std::byte> model, const std::string& base) {
  return call_direct(methods::parser_refitter_refit, model.data(), model.size(),
                     base.empty() ? nullptr : base.c_str());
}

std::vector<ParserIssue> ParserRefitter::issues() const {
  return read_issues(*this, methods::parser_refitter_get_nb_errors,
                     methods::parser_refitter_get_error);
}

}  // namespace fasttrt::nvinfer
