// The one error tree of the core; bindings turn each class into its namesake in fasttrt.errors.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fasttrt {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// No TensorRT library (or no CUDA driver library) could be found or opened.
class LibraryNotFoundError : public Error {
 public:
  using Error::Error;
};

// A library was found but is of a family, generation or release that fasttrt does not bind.
class UnsupportedLibraryError : public Error {
 public:
  using Error::Error;
};

// One node (or, with index -1, the whole model) that the ONNX parser refused.
struct ParserIssue {
  int node = -1;
  std::string name;
  std::string op;
  std::string reason;
};

class ParseError : public Error {
 public:
  ParseError(const std::string& message, std::vector<ParserIssue> issues)
      : Error(message), issues_(std::move(issues)) {}
  [[nodiscard]] const std::vector<ParserIssue>& issues() const noexcept { return issues_; }

 private:
  std::vector<ParserIssue> issues_;
};

class BuildError : public Error {
 public:
  using Error::Error;
};

// The caller stopped a build (Ctrl-C); not a failure of the model.
class BuildInterrupted : public Error {
 public:
  using Error::Error;
};

// A plan could not be turned into an engine that runs here.
class EngineLoadError : public Error {
 public:
  using Error::Error;
};

// An array does not fit the tensor that it was given for.
class InputError : public Error {
 public:
  using Error::Error;
};

// A CUDA driver call failed; code is its CUresult.
class CudaError : public Error {
 public:
  CudaError(const std::string& message, int code, std::string call)
      : Error(message), code_(code), call_(std::move(call)) {}
  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] const std::string& call() const noexcept { return call_; }

 private:
  int code_;
  std::string call_;
};

class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

// As many requests wait as may.
class QueueFullError : public Error {
 public:
  using Error::Error;
};

// A request did not begin, or not end, by its deadline.
class DeadlineError : public Error {
 public:
  using Error::Error;
};

}  // namespace fasttrt
