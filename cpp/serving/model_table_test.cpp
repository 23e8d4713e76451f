#include "serving/model_table.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/error.hpp"
#include "serving/model_for_tests.hpp"

namespace fasttrt::serving {
namespace {

TEST_CASE("Models are found by the targets of infer requests") {
  const TestModel model;
  ModelTable table;
  const auto one = model.served("m", "1");
  const auto two = model.served("m", "2");
  table.set(one, false);
  CHECK(table.find_for_infer("/v2/models/m/infer") == nullptr);
  table.set(two, true);
  CHECK(table.find_for_infer("/v2/models/m/infer") == two);
  CHECK(table.find_for_infer("/v2/models/m/versions/1/infer") == one);
  for (const auto* target :
       {"", "/infer", "/v2/models/infer", "/v2/models//infer", "/v2/models/n/infer",
        "/v2/models/m/versions/3/infer", "/v2/models/m/versions//infer",
        "/v2/models/m/versions/infer", "/v2/models/m/x/infer", "/v2/models/m/versions/1/2/infer",
        "/v2/models/m/infer?a=b", "/v2/models/%6d/infer", "/v2/models/m/infer/", "/v2/models/m",
        "http://a/v2/models/m/infer"}) {
    CAPTURE(target);
    CHECK(table.find_for_infer(target) == nullptr);
  }
  table.remove("m", "2");
  CHECK(table.find_for_infer("/v2/models/m/infer") == nullptr);
  CHECK(table.find("m", "1") == one);
  table.remove("m", "1");
  table.remove("m", "1");
  CHECK(table.find("m", "1") == nullptr);
}

TEST_CASE("A version that takes the place of the default one is that only if it is said") {
  const TestModel model;
  ModelTable table;
  table.set(model.served("m", "1"), true);
  const auto replaced = model.served("m", "1");
  table.set(replaced, true);
  CHECK(table.find("m", "") == replaced);
  table.set(model.served("m", "1"), false);
  CHECK(table.find("m", "") == nullptr);
}

TEST_CASE("Models change while they are looked up") {
  const TestModel model;
  ModelTable table;
  std::atomic<bool> is_over = false;
  std::atomic<int> found = 0;
  std::vector<std::thread> readers;
  readers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!is_over) {
        if (const auto served = table.find("m", "")) found += served->name() == "m" ? 1 : 0;
      }
    });
  }
  for (int i = 0; i < 200 || found == 0; ++i) {
    table.set(model.served("m", "1"), true);
    table.remove("m", "1");
  }
  is_over = true;
  for (auto& reader : readers) reader.join();
  CHECK(found > 0);
}

TEST_CASE("Tensors must be those of the dispatcher") {
  const TestModel model;
  const auto make = [&](std::vector<ServedTensor> inputs) {
    return std::make_shared<ServedModel>("m", "1", model.dispatcher, std::move(inputs),
                                         TestModel::outputs(), 0);
  };
  CHECK_NOTHROW(make(TestModel::inputs()));
  CHECK_THROWS_AS(make({}), InputError);
  auto inputs = TestModel::inputs();
  inputs[0].datatype = "FP64";
  CHECK_THROWS_WITH_AS(make(inputs), "x: the engine's dtype is float32, got datatype FP64",
                       InputError);
  inputs = TestModel::inputs();
  inputs[1].shape = {3, 4};
  CHECK_THROWS_WITH_AS(make(inputs), "id: the engine's shape is (-1,), got (3, 4)", InputError);
}

}  // namespace
}  // namespace fasttrt::serving
