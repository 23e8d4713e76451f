#include "nvinfer/parser.hpp"

#include "nvinfer/logger.hpp"

namespace fasttrt::nvinfer {
namespace {

std::string text(const char* value) { return value != nullptr ? value : ""; }

}  // namespace

std::unique_ptr<Parser> Parser::create(const std::shared_ptr<Network>& network) {
  const auto& library = network->shared_library();
  const ErrorScope errors;
  void* const object = library->create_parser(network->get());
  if (object == nullptr) {
    throw UnsupportedLibraryError(errors.explain("the ONNX parser " + library->parser_path() +
                                                 " does not work with " + library->str()));
  }
  const auto slot = parser_deleting_destructor[static_cast<std::size_t>(library->generation())];
  auto parser = std::make_unique<Parser>(library, object, network, slot);
  // TensorRT's own InstanceNormalization rather than a plugin, so that plans need no plugin
  // library. The default from v10 on.
  if (parser->has(methods::parser_set_flag)) {
    parser->call_direct(methods::parser_set_flag, fixed(enums::parser_flag_native_instance_norm));
  }
  return parser;
}

bool Parser::parse_file(const std::string& path) {
  // The parser's own logger threshold does not matter: ours filters.
  return call_direct(methods::parser_parse_file, path.c_str(),
                     static_cast<std::int32_t>(Severity::verbose));
}

bool Parser::parse(std::span<const std::byte> model, const std::string& base) {
  return call_direct(methods::parser_parse, model.data(), model.size(),
                     base.empty() ? nullptr : base.c_str());
}

std::vector<ParserIssue> Parser::issues() const {
  return read_issues(*this, methods::parser_get_nb_errors, methods::parser_get_error);
}

std::vector<ParserIssue> read_issues(const ObjectRef& parser,
                                     const Method<std::int32_t()>& get_count,
                                     const Method<void*(std::int32_t)>& get_error) {
  std::vector<ParserIssue> issues;
  const int count = parser.call_direct(get_count);
  for (int i = 0; i < count; ++i) {
    const ObjectRef error = parser.at(parser.call_direct(get_error, i));
    ParserIssue issue;
    issue.node = error.call_direct(methods::parser_error_node);
    issue.reason = text(error.call_direct(methods::parser_error_text));
    if (error.has(methods::parser_error_node_name)) {
      issue.name = text(error.call_direct(methods::parser_error_node_name));
      issue.op = text(error.call_direct(methods::parser_error_node_operator));
    }
    issues.push_back(std::move(issue));
  }
  return issues;
}

}  // namespace fasttrt::nvinfer
