#include "bindings/kept_object.hpp"

#include <mutex>
#include <utility>
#include <vector>

namespace fasttrt::bindings {
namespace {

namespace py = pybind11;

struct Dead {
  std::mutex mutex;
  std::vector<PyObject*> objects;
};

// Never destroyed: threads may come here while the process ends.
Dead& dead_objects() {
  static auto* const all = new Dead();
  return *all;
}

void add_dead(PyObject* object) noexcept {
  auto& all = dead_objects();
  const std::lock_guard lock(all.mutex);
  try {
    all.objects.push_back(object);
  } catch (const std::bad_alloc&) {
    return;  // it lives on
  }
}

}  // namespace

std::shared_ptr<void> keep_object(py::object object) {
  return {object.release().ptr(), [](void* kept) { add_dead(static_cast<PyObject*>(kept)); }};
}

void bury_kept_objects() noexcept {
  std::vector<PyObject*> objects;
  {
    auto& all = dead_objects();
    const std::lock_guard lock(all.mutex);
    objects.swap(all.objects);
  }
  for (auto* const object : objects) Py_DECREF(object);
}

}  // namespace fasttrt::bindings
