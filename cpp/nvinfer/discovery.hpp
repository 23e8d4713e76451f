// Finding a TensorRT library on this machine.
//
// Order: $FASTTRT_LIBRARY (a file or a folder; nothing else is tried then), the folders of Python
// packages, the loader's own search path, the usual system folders. In each, among families: with a
// working GPU TensorRT comes before TensorRT-RTX, as it is tuned for the GPU at hand, unless it
// cannot run on it; without one RTX comes first, as it alone parses and builds there. The lean
// runtime is last.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nvinfer/library.hpp"

namespace fasttrt::nvinfer {

struct SearchRequest {
  // "auto", a family ("tensorrt", "rtx", "lean"), or the path of a library or a folder.
  std::string choice = "auto";
  std::string environment;            // $FASTTRT_LIBRARY, empty if not set
  std::vector<std::string> packages;  // folders of Python packages that may hold libraries
  int capability_major = 0;           // of the GPU to run on; 0 if there is none
  int capability_minor = 0;
};

// Throws LibraryNotFoundError with every path tried and how to install one, or
// UnsupportedLibraryError if only unusable libraries were found.
[[nodiscard]] std::shared_ptr<const Library> find_library(const SearchRequest& request);

// What `find_library` tries, in this order, until it finds one: paths, which need not exist, and
// sonames for the loader.
[[nodiscard]] std::vector<std::string> library_candidates(const SearchRequest& request);

// Why a library cannot run on a GPU of this compute capability, in a sentence; empty if nothing
// speaks against it.
[[nodiscard]] std::string gpu_problem(Family family, const Version& version, int major, int minor);

}  // namespace fasttrt::nvinfer
