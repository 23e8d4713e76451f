// The ONNX parser that comes with a TensorRT library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "nvinfer/builder.hpp"

namespace fasttrt::nvinfer {

// The errors that a parser (or its refitter) keeps.
[[nodiscard]] std::vector<ParserIssue> read_issues(const ObjectRef& parser,
                                                   const Method<std::int32_t()>& get_count,
                                                   const Method<void*(std::int32_t)>& get_error);

class Parser : public Object {
 public:
  // The parser must live as long as the network: the network uses the weights that it loaded.
  // Throws UnsupportedLibraryError where there is no parser.
  [[nodiscard]] static std::unique_ptr<Parser> create(const std::shared_ptr<Network>& network);

  using Object::Object;

  // External data is looked for beside the file. False on failure, see issues().
  [[nodiscard]] bool parse_file(const std::string& path);
  // base: a path in the folder that external data is relative to, or empty.
  [[nodiscard]] bool parse(std::span<const std::byte> model, const std::string& base);
  // What the parser refused; node names and operators are empty in generation v8.
  [[nodiscard]] std::vector<ParserIssue> issues() const;
};

}  // namespace fasttrt::nvinfer
