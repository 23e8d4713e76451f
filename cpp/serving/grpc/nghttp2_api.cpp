#include "serving/grpc/nghttp2_api.hpp"

#include <cstdlib>
#include <string>

#include "common/error.hpp"
#include "common/shared_library.hpp"

namespace fasttrt::serving::grpc {
namespace {

constexpr const char* soname = "libnghttp2.so.14";

SharedLibrary open_library() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read once, and never written here
  const char* const chosen = std::getenv("FASTTRT_NGHTTP2");
  try {
    return SharedLibrary(chosen != nullptr && *chosen != '\0' ? chosen : soname);
  } catch (const LibraryNotFoundError& error) {
    throw LibraryNotFoundError(
        std::string("nghttp2 cannot be loaded (") + error.what() +
        "); it is in the package libnghttp2-14 of Debian and Ubuntu, libnghttp2 of Fedora and "
        "conda-forge; FASTTRT_NGHTTP2 may name the file");
  }
}

template <class Function>
void resolve(Function*& field, const SharedLibrary& library, const char* symbol) {
  field = library.find<Function>(symbol);
  if (field == nullptr) {
    throw UnsupportedLibraryError(library.path().string() + " lacks " + symbol +
                                  "; fasttrt needs nghttp2 1.40 or newer");
  }
}

Nghttp2Api load() {
  const SharedLibrary library = open_library();
  Nghttp2Api api{};
#define FASTTRT_NGHTTP2_RESOLVE(field, symbol, result, parameters) \
  resolve(api.field, library, "nghttp2_" #symbol);
  FASTTRT_NGHTTP2_FUNCTIONS(FASTTRT_NGHTTP2_RESOLVE)
#undef FASTTRT_NGHTTP2_RESOLVE
  return api;
}

}  // namespace

const Nghttp2Api& nghttp2() {
  // An initialisation that throws counts as none: the next call makes a new attempt.
  static const Nghttp2Api api = load();
  return api;
}

}  // namespace fasttrt::serving::grpc
