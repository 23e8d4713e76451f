// The tables and values that need neither a TensorRT library nor a GPU.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "common/error.hpp"
#include "nvinfer/abi.hpp"
#include "nvinfer/dims.hpp"
#include "nvinfer/discovery.hpp"
#include "nvinfer/enums.hpp"
#include "nvinfer/methods.hpp"
#include "nvinfer/version.hpp"

namespace fasttrt::nvinfer {
namespace {

TEST_SUITE_BEGIN("versions and tables");

TEST_CASE("a version number is read as its family counts") {
  CHECK(Version::decode(Family::tensorrt, 8600) == Version{8, 6, 0});
  CHECK(Version::decode(Family::tensorrt, 8601) == Version{8, 6, 1});
  CHECK(Version::decode(Family::tensorrt, 101600) == Version{10, 16, 0});
  CHECK(Version::decode(Family::tensorrt, 101303) == Version{10, 13, 3});
  CHECK(Version::decode(Family::lean, 110400) == Version{11, 4, 0});
  CHECK(Version::decode(Family::rtx, 10601) == Version{1, 6, 1});
  CHECK(Version{10, 13, 3}.str() == "10.13.3");
}

TEST_CASE("each supported release has its generation") {
  for (const auto family : {Family::tensorrt, Family::lean}) {
    CHECK(generation_of(family, {8, 6, 0}) == Generation::v8);
    CHECK(generation_of(family, {10, 0, 0}) == Generation::v10);
    CHECK(generation_of(family, {10, 16, 1}) == Generation::v10);
    CHECK(generation_of(family, {11, 2, 0}) == Generation::v11);
  }
  CHECK(generation_of(Family::rtx, {1, 5, 0}) == Generation::rtx);
  CHECK(generation_of(Family::rtx, {1, 7, 1}) == Generation::rtx);
  CHECK(generation_name(Generation::rtx) == generation_name(Generation::v11));
}

TEST_CASE("any other release is refused by name, with what is supported") {
  for (const Version version : {Version{7, 2, 1}, {8, 5, 3}, {9, 3, 0}, {12, 0, 0}}) {
    CAPTURE(version.str());
    CHECK_THROWS_WITH_AS((void)generation_of(Family::tensorrt, version),
                         doctest::Contains(("TensorRT " + version.str()).c_str()),
                         UnsupportedLibraryError);
  }
  CHECK_THROWS_WITH_AS((void)generation_of(Family::lean, {8, 5, 0}),
                       doctest::Contains("lean runtime 8.5.0"), UnsupportedLibraryError);
  for (const Version version : {Version{1, 4, 0}, {2, 0, 0}, {10, 0, 0}}) {
    CHECK_THROWS_WITH_AS((void)generation_of(Family::rtx, version),
                         doctest::Contains("TensorRT-RTX 1.5 or later"), UnsupportedLibraryError);
  }
}

TEST_CASE("a method is there from its first release on, in the generations that have it") {
  const auto present = [](const MethodInfo& method, Generation generation, std::int32_t number) {
    return method.slots[static_cast<std::size_t>(generation)].present(number);
  };
  const auto& added = methods::profile_set_shape_values_v2;
  CHECK_FALSE(present(added, Generation::v8, 8601));
  CHECK_FALSE(present(added, Generation::v10, 101000));
  CHECK(present(added, Generation::v10, 101100));
  CHECK(present(added, Generation::v11, 110000));
  CHECK(present(methods::config_set_compute_capability, Generation::rtx, 10500));
  CHECK_FALSE(present(methods::config_set_compute_capability, Generation::v11, 110000));
}

TEST_CASE("a method that moved within a generation has an entry for each place") {
  const auto slot = [](const MethodInfo& method, Generation generation) {
    return method.slots[static_cast<std::size_t>(generation)];
  };
  const auto& now = methods::registry_load_library;
  const auto& at_first = methods::registry_load_library_8600;
  CHECK(slot(at_first, Generation::v8).present(8600));
  CHECK_FALSE(slot(at_first, Generation::v8).present(8601));
  CHECK_FALSE(slot(now, Generation::v8).present(8600));
  CHECK(slot(now, Generation::v8).present(8601));
  CHECK(slot(now, Generation::v10).present(100000));
  CHECK(slot(now, Generation::rtx).present(10601));
}

TEST_CASE("what 8.6 and 10.0 lack is absent from their columns") {
  const auto present = [](const auto& entry, Generation generation, std::int32_t number) {
    const auto column = static_cast<std::size_t>(generation);
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(entry)>, Enumerator>) {
      return entry.values[column].present(number);
    } else {
      return entry.slots[column].present(number);
    }
  };
  for (const auto* flag :
       {&enums::builder_flag_strip_plan, &enums::builder_flag_weight_streaming}) {
    CHECK_FALSE(present(*flag, Generation::v8, 8601));
    CHECK(present(*flag, Generation::v10, 100000));
    CHECK(present(*flag, Generation::v11, 110000));
    CHECK(present(*flag, Generation::rtx, 10500));
  }
  CHECK_FALSE(present(methods::parser_refitter_refit, Generation::v8, 8601));
  CHECK_FALSE(present(methods::engine_set_weight_streaming_budget, Generation::v10, 100001));
  CHECK(present(methods::engine_set_weight_streaming_budget, Generation::v10, 100100));
  CHECK(present(methods::inspector_get_engine_information, Generation::v8, 8600));
  CHECK(present(methods::runtime_cache_serialize, Generation::rtx, 10500));
  CHECK_FALSE(present(methods::runtime_cache_serialize, Generation::v11, 110100));
}

TEST_CASE("what speaks against a GPU is said in a sentence") {
  CHECK(gpu_problem(Family::rtx, {1, 6, 1}, 9, 0).empty());
  CHECK(gpu_problem(Family::rtx, {1, 7, 1}, 9, 0).find("TensorRT-RTX 1.7.1") == 0);
  CHECK(gpu_problem(Family::rtx, {1, 7, 1}, 12, 0).empty());
  CHECK(gpu_problem(Family::rtx, {1, 6, 1}, 7, 5).empty());
  CHECK(gpu_problem(Family::rtx, {1, 6, 1}, 7, 0).find("7.5") != std::string::npos);
  CHECK(gpu_problem(Family::tensorrt, {8, 6, 1}, 9, 0).empty());
  CHECK_FALSE(gpu_problem(Family::tensorrt, {8, 6, 1}, 10, 0).empty());
  CHECK_FALSE(gpu_problem(Family::lean, {8, 6, 1}, 12, 0).empty());
  CHECK(gpu_problem(Family::tensorrt, {10, 16, 0}, 12, 0).empty());
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("dimensions and types");

TEST_CASE("dimensions know their volume, and print as numpy prints a shape") {
  CHECK(Dims{1, 3, 224, 224}.str() == "(1, 3, 224, 224)");
  CHECK(Dims{5}.str() == "(5,)");
  CHECK(Dims{}.str() == "()");
  CHECK(Dims{2, 3, 4}.volume() == 24);
  CHECK(Dims{}.volume() == 1);
  CHECK(Dims{7, 0}.volume() == 0);
  CHECK(Dims{2, 0}.known());
  CHECK_FALSE(Dims{-1, 3}.known());
  CHECK(Dims{1, 2} == Dims{1, 2});
  CHECK(Dims{1, 2, 3, 4, 5, 6, 7, 8}.volume() == 40320);
  CHECK(Dims{1, 2, 3, 4, 5, 6, 7, 8, 9} == Dims(Dims::unknown_rank));
  CHECK_FALSE(Dims{1, 2} == Dims{1, 2, 1});
}

TEST_CASE("an impossible rank is an unknown one") {
  for (const int rank : {-1, -7, max_rank + 1}) {
    const Dims dims(rank);
    CHECK(dims.rank() == Dims::unknown_rank);
    CHECK_FALSE(dims.known());
    CHECK(dims.begin() == dims.end());
    CHECK(dims.str() == "(unknown rank)");
  }
}

TEST_CASE("dimensions survive both layouts") {
  const Dims dims{-1, 3, 1 << 30};
  CHECK(abi::widen(abi::narrow<abi::Dims32>(dims)) == dims);
  const Dims large{std::int64_t{1} << 40, 2};
  CHECK(abi::widen(abi::narrow<abi::Dims64>(large)) == large);
  CHECK(abi::widen(abi::Dims64{.rank = 99}).rank() == Dims::unknown_rank);
}

TEST_CASE("types have numpy's names and their sizes") {
  CHECK(dtype_name(DataType::float32) == "float32");
  CHECK(dtype_name(DataType::boolean) == "bool");
  CHECK(dtype_name(DataType::float8_e4m3fn) == "float8_e4m3fn");
  CHECK(dtype_name(DataType::int4) == "int4");
  CHECK(byte_size(DataType::int64, 3) == 24);
  CHECK(byte_size(DataType::float16, 3) == 6);
  CHECK(byte_size(DataType::boolean, 3) == 3);
  CHECK(byte_size(DataType::int4, 3) == 2);
  CHECK(byte_size(DataType::float4_e2m1fn, 4) == 2);
  CHECK(byte_size(DataType::float32, 0) == 0);
  const auto beyond = static_cast<DataType>(99);
  CHECK(dtype_name(beyond) == "unknown");
  CHECK(bits_per_element(beyond) == 0);
}

TEST_SUITE_END();

}  // namespace
}  // namespace fasttrt::nvinfer
