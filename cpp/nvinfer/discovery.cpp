#include "nvinfer/discovery.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::nvinfer {
namespace {

namespace fs = std::filesystem;

// Newest first. Always with the version: an unversioned name may be anything.
constexpr std::array tensorrt_sonames{"libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8"};
constexpr std::array rtx_sonames{"libtensorrt_rtx.so.1"};
constexpr std::array lean_sonames{"libnvinfer_lean.so.11", "libnvinfer_lean.so.10",
                                  "libnvinfer_lean.so.8"};

#ifdef __aarch64__
constexpr std::array system_folders{"/usr/lib/aarch64-linux-gnu", "/usr/lib64",
                                    "/usr/local/tensorrt/lib",    "/opt/tensorrt/lib",
                                    "/usr/src/tensorrt/lib",      "/usr/local/cuda/lib64"};
#else
constexpr std::array system_folders{"/usr/lib/x86_64-linux-gnu", "/usr/lib64",
                                    "/usr/local/tensorrt/lib",   "/opt/tensorrt/lib",
                                    "/usr/src/tensorrt/lib",     "/usr/local/cuda/lib64"};
#endif

std::span<const char* const> sonames(Family family) {
  switch (family) {
    case Family::tensorrt: return tensorrt_sonames;
    case Family::rtx: return rtx_sonames;
    case Family::lean: return lean_sonames;
  }
  return {};
}

std::optional<Family> family_from(std::string_view name) {
  for (const auto family : {Family::tensorrt, Family::rtx, Family::lean}) {
    if (family_name(family) == name) return family;
  }
  return std::nullopt;
}

struct Candidate {
  std::string name;
  bool is_path;  // else a soname, for the loader's own search
};

void add_folders(std::vector<Candidate>& candidates, std::span<const std::string> folders,
                 Family family) {
  for (const auto& folder : folders) {
    for (const char* soname : sonames(family)) {
      candidates.push_back({(fs::path(folder) / soname).string(), true});
    }
  }
}

std::vector<Family> families_of(const SearchRequest& request) {
  if (const auto family = family_from(request.choice)) return {*family};
  if (request.capability_major > 0) return {Family::tensorrt, Family::rtx, Family::lean};
  return {Family::rtx, Family::tensorrt, Family::lean};
}

// The file or folder that is named; empty if none is.
fs::path place_of(const SearchRequest& request) {
  if (request.choice != "auto" && !family_from(request.choice)) return request.choice;
  return request.environment;
}

// What is tried, in order.
std::vector<Candidate> candidates_of(const SearchRequest& request) {
  const auto place = place_of(request);
  std::error_code ignored;
  // Absolute, as the loader would search for a name without a slash.
  if (!place.empty() && !fs::is_directory(place, ignored)) {
    return {{fs::absolute(place).string(), true}};
  }
  const std::vector<std::string> system(system_folders.begin(), system_folders.end());
  std::vector<Candidate> candidates;
  for (const auto family : families_of(request)) {
    if (!place.empty()) {
      add_folders(candidates, {{place.string()}}, family);
      continue;
    }
    add_folders(candidates, request.packages, family);
    for (const char* soname : sonames(family)) candidates.push_back({soname, false});
    add_folders(candidates, system, family);
  }
  return candidates;
}

class Search {
 public:
  explicit Search(const SearchRequest& request) : request_(request) {}

  std::shared_ptr<const Library> first(std::span<const Candidate> candidates) {
    for (const auto& [name, is_path] : candidates) {
      if (auto found = open(name, is_path)) return found;
    }
    return second_choice_;
  }

  [[noreturn]] void fail() const {
    std::string text;
    for (const auto& line : refused_) text += "\n  " + line;
    if (!refused_.empty()) {
      throw UnsupportedLibraryError("no usable TensorRT library; found but not usable:" + text);
    }
    for (const auto& path : tried_) text += "\n  " + path;
    throw LibraryNotFoundError(
        "no TensorRT library was found. Install one, for instance with "
        "`pip install 'tensorrt-rtx-cu12-libs<1.7'` (or -cu13-), or name one in FASTTRT_LIBRARY. "
        "Tried:" +
        text);
  }

 private:
  std::shared_ptr<const Library> open(const std::string& name, bool is_path) {
    tried_.push_back(name);
    std::error_code ignored;
    if (is_path && !fs::exists(name, ignored)) return nullptr;
    std::shared_ptr<const Library> library;
    try {
      library = Library::open(name);
    } catch (const UnsupportedLibraryError& error) {
      refused_.emplace_back(error.what());
    } catch (const LibraryNotFoundError& error) {
      if (is_path) refused_.emplace_back(error.what());
    }
    if (library == nullptr || request_.capability_major == 0) return library;
    if (gpu_problem(library->family(), library->version(), request_.capability_major,
                    request_.capability_minor)
            .empty()) {
      return library;
    }
    if (second_choice_ == nullptr) second_choice_ = library;
    return nullptr;
  }

  const SearchRequest& request_;
  std::shared_ptr<const Library> second_choice_;  // loads, but cannot run on this GPU
  std::vector<std::string> tried_;
  std::vector<std::string> refused_;
};

}  // namespace

std::vector<std::string> library_candidates(const SearchRequest& request) {
  std::vector<std::string> names;
  for (auto& candidate : candidates_of(request)) names.push_back(std::move(candidate.name));
  return names;
}

std::shared_ptr<const Library> find_library(const SearchRequest& request) {
  const auto place = place_of(request);
  // What was named is taken as it is, whether or not this GPU suits it.
  SearchRequest unconditional = request;
  if (!place.empty()) unconditional.capability_major = 0;
  Search search(unconditional);
  auto found = search.first(candidates_of(request));
  if (found == nullptr) search.fail();
  if (const auto family = family_from(request.choice); family && found->family() != *family) {
    throw UnsupportedLibraryError("library=\"" + request.choice + "\" was asked for, but " +
                                  place.string() + " is " + found->str());
  }
  return found;
}

std::string gpu_problem(Family family, const Version& version, int major, int minor) {
  const auto gpu =
      "a GPU of compute capability " + std::to_string(major) + "." + std::to_string(minor);
  const auto library = std::string(product_name(family)) + " " + version.str();
  if (family == Family::rtx) {
    // Measured: 1.7.1 refuses 9.0 when a plan is deserialized, 1.6.1 runs on it.
    if (major == 9 && version >= Version{1, 7, 0}) {
      return library + " does not run on " + gpu + "; TensorRT-RTX 1.6 does";
    }
    if (major * 10 + minor < 75) return library + " does not run on " + gpu + "; it needs 7.5";
  } else if (version.major == 8 && major >= 10) {
    return library + " does not run on " + gpu + ", which is newer than it";
  }
  return "";
}

}  // namespace fasttrt::nvinfer
