// Objects of the core that Python owns.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <tuple>

namespace fasttrt::bindings {

// A capsule that owns an object; destroy(object) is called with the GIL. If there is no memory for
// the capsule then the object is deleted at once.
template <class T, class Deleter>
[[nodiscard]] pybind11::capsule make_owner(std::unique_ptr<T, Deleter> object,
                                           void (*destroy)(void* object)) {
  pybind11::capsule owner(object.get(), destroy);
  std::ignore = object.release();  // the capsule's now
  return owner;
}

}  // namespace fasttrt::bindings
