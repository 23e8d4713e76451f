#include "engine/batcher.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "common/error.hpp"

namespace fasttrt::engine {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

ProfileRange range(Dims min, Dims max) { return {min, min, max, {}, {}, {}}; }

IoTensor tensor(const std::string& name, DataType dtype, Dims shape,
                std::vector<ProfileRange> profiles = {}) {
  IoTensor result;
  result.name = name;
  result.dtype = dtype;
  result.shape = shape;
  result.profiles = std::move(profiles);
  return result;
}

// One sample: a row of floats and an integer.
struct Rows {
  std::int64_t count = 0;
  std::int64_t width = 0;
  std::vector<float> x;
  std::vector<std::int64_t> id;
};

struct Results {
  std::vector<float> y;  // 3 x + the row's sum
  std::vector<std::int64_t> twice;
  friend bool operator==(const Results&, const Results&) = default;
};

Results compute(const Rows& rows) {
  Results results;
  for (std::int64_t row = 0; row < rows.count; ++row) {
    const auto* x = rows.x.data() + row * rows.width;
    float sum = 0;
    for (std::int64_t i = 0; i < rows.width; ++i) sum += x[i];
    for (std::int64_t i = 0; i < rows.width; ++i) results.y.push_back(3 * x[i] + sum);
    results.twice.push_back(2 * rows.id[static_cast<std::size_t>(row)]);
  }
  return results;
}

class Random {
 public:
  explicit Random(unsigned int seed = std::random_device{}()) : engine_(seed) {}
  std::int64_t below(std::int64_t limit) {
    return std::uniform_int_distribution<std::int64_t>(0, limit - 1)(engine_);
  }
  Rows rows(std::int64_t count, std::int64_t width) {
    Rows rows{count, width, {}, {}};
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < count * width; ++i) rows.x.push_back(normal(engine_));
    for (std::int64_t i = 0; i < count; ++i) rows.id.push_back(below(1 << 30));
    return rows;
  }

 private:
  std::mt19937 engine_;
};

template <class T>
std::vector<T> copy_of(const void* data, std::int64_t count) {
  const auto* first = static_cast<const T*>(data);
  return {first, first + count};
}

template <class T>
void give(OutputArray& output, const Dims& shape, const std::vector<T>& values) {
  if (output.target == nullptr) {
    output.host = HostBuffer(values.size() * sizeof(T));
  } else if (output.shape != shape) {
    throw InputError("out= has another shape");
  }
  output.shape = shape;
  if (!values.empty()) std::memcpy(output.data(), values.data(), values.size() * sizeof(T));
}

// Stands in for an engine with so many sessions, and remembers what it ran.
class FakeEngine {
 public:
  explicit FakeEngine(int sessions = 1) : free_(sessions) {}

  Batcher batcher(BatchingOptions options) {
    return {inputs, outputs, nullptr, [this](const auto& work) { with_session(work); },
            std::move(options)};
  }
  std::vector<Rows> runs() {
    const std::lock_guard lock(mutex_);
    return runs_;
  }
  std::vector<std::int64_t> sizes() {
    std::vector<std::int64_t> sizes;
    for (const auto& run : runs()) sizes.push_back(run.count);
    std::ranges::sort(sizes);
    return sizes;
  }

  std::vector<IoTensor> inputs{
      tensor("x", DataType::float32, {-1, -1}, {range({1, 0}, {64, 1 << 20})}),
      tensor("id", DataType::int64, {-1}, {range({1}, {64})})};
  std::vector<IoTensor> outputs{tensor("y", DataType::float32, {-1, -1}),
                                tensor("twice", DataType::int64, {-1})};
  milliseconds duration{0};
  bool merges_rows = false;
  std::int64_t room = 64;  // rows that there is memory for
  std::atomic<bool> closed = false;
  std::atomic<const void*> last_data = nullptr;

 private:
  void with_session(const std::function<void(const Run&)>& work) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return free_ > 0; });
      if (closed) throw Error("the engine is closed");
      --free_;
    }
    std::exception_ptr error;
    try {
      work([this](auto arrays, auto results) { run(arrays, results); });
    } catch (...) {
      error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      ++free_;
      changed_.notify_one();
    }
    if (error != nullptr) std::rethrow_exception(error);
  }

  void run(std::span<const InputArray> arrays, std::span<OutputArray> results) {
    const auto count = arrays[0].shape[0];
    const auto width = arrays[0].shape[1];
    const Rows rows{count, width, copy_of<float>(arrays[0].data, count * width),
                    copy_of<std::int64_t>(arrays[1].data, arrays[1].shape[0])};
    last_data = arrays[0].data;
    {
      const std::lock_guard lock(mutex_);
      runs_.push_back(rows);
    }
    std::this_thread::sleep_for(duration);
    if (count > room) throw OutOfMemoryError("no memory");
    if (std::ranges::any_of(rows.x, [](float x) { return std::isnan(x); })) {
      throw Error("not a number");
    }
    const auto values = compute(rows);
    give(results[0], {count, width}, values.y);
    give(results[1], {merges_rows ? 1 : count}, values.twice);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int free_;
  std::vector<Rows> runs_;
};

// What a caller got: an error's text, or results that are right, or wrong ones.
std::string call(Batcher& batcher, const Rows& rows, std::int64_t target_width = 0) {
  const std::vector<InputArray> inputs{{rows.x.data(), {rows.count, rows.width}, Place::host},
                                       {rows.id.data(), {rows.count}, Place::host}};
  std::vector<OutputArray> outputs(2);
  std::vector<float> target(static_cast<std::size_t>(rows.count * target_width));
  if (target_width > 0) {
    outputs[0].target = target.data();
    outputs[0].shape = {rows.count, target_width};
  }
  if (!batcher.accepts(inputs, outputs)) return "not accepted";
  try {
    batcher.infer(inputs, outputs);
  } catch (const InputError& error) {
    return std::string("InputError: ") + error.what();
  } catch (const Error& error) {
    return std::string("Error: ") + error.what();
  }
  if (outputs[0].shape != inputs[0].shape || outputs[1].shape != inputs[1].shape) return "shape";
  const Results got{copy_of<float>(outputs[0].data(), rows.count * rows.width),
                    copy_of<std::int64_t>(outputs[1].data(), rows.count)};
  return got == compute(rows) ? "right" : "wrong";
}

// Calls f(0), f(1), ... at once and waits.
template <class F>
void in_threads(std::size_t count, F f) {
  std::vector<std::jthread> threads;
  threads.reserve(count);
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back([&f, i] { f(i); });
}

// Calls with all of them at once.
std::vector<std::string> call_together(Batcher& batcher, const std::vector<Rows>& requests,
                                       const std::vector<std::int64_t>& target_widths = {}) {
  std::vector<std::string> answers(requests.size());
  in_threads(requests.size(), [&](std::size_t i) {
    answers[i] = call(batcher, requests[i], target_widths.empty() ? 0 : target_widths[i]);
  });
  return answers;
}

std::vector<Rows> some_rows(std::size_t requests, std::int64_t count, std::int64_t width) {
  Random random;
  std::vector<Rows> rows;
  while (rows.size() < requests) rows.push_back(random.rows(count, width));
  return rows;
}

bool all_are(const std::vector<std::string>& answers, const std::string& expected) {
  for (const auto& answer : answers) CHECK(answer == expected);
  return std::ranges::all_of(answers, [&](const auto& answer) { return answer == expected; });
}

// A batch that waits an hour is run only because it is full, so these tests end only if it is.
BatchingOptions patient(std::int64_t max_size) { return {max_size, hours(1), {max_size}}; }

TEST_CASE("calls that come together share a run, which does not wait once it is full") {
  FakeEngine engine;
  auto batcher = engine.batcher(patient(8));
  CHECK(all_are(call_together(batcher, some_rows(8, 1, 5)), "right"));
  CHECK(all_are(call_together(batcher, some_rows(4, 2, 5)), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{8, 8});
}

TEST_CASE("results large and empty are shared out too") {
  FakeEngine engine;
  auto batcher = engine.batcher(patient(3));
  CHECK(all_are(call_together(batcher, some_rows(3, 1, 1 << 16)), "right"));
  CHECK(all_are(call_together(batcher, some_rows(3, 1, 0)), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{3, 3});
}

TEST_CASE("many threads and shapes: every caller gets its own results") {
  for (const int sessions : {1, 3}) {
    for (const int delay : {0, 300}) {
      FakeEngine engine(sessions);
      auto batcher = engine.batcher({16, microseconds(delay), {2, 5, 8, 20}});
      std::atomic<int> right = 0;
      constexpr int requests = 150;
      constexpr int callers = 8;
      in_threads(callers, [&](auto) {
        Random random;
        for (int i = 0; i < requests; ++i) {
          const auto rows = random.rows(1 + random.below(4), 3 + 4 * random.below(2));
          const auto target = random.below(2) == 0 ? 0 : rows.width;
          if (call(batcher, rows, target) == "right") ++right;
        }
      });
      CHECK(right == requests * callers);
      for (const auto size : engine.sizes()) {
        CHECK((size == 2 || size == 5 || size == 8 || size == 20));
      }
    }
  }
}

TEST_CASE("a batch fills up while it waits for a session") {
  FakeEngine engine;
  engine.duration = milliseconds(20);
  auto batcher = engine.batcher({8, microseconds(0), {1, 2, 4, 8}});
  CHECK(all_are(call_together(batcher, some_rows(32, 1, 5)), "right"));
  CHECK(engine.runs().size() < 32);
}

TEST_CASE("a call that nobody joins runs in its own arrays") {
  FakeEngine engine;
  auto batcher = engine.batcher({4, microseconds(0), {1, 2, 4}});
  const auto rows = Random().rows(2, 5);
  CHECK(call(batcher, rows, 5) == "right");
  CHECK(engine.last_data == rows.x.data());
  CHECK(call(batcher, rows, 6) == "InputError: out= has another shape");
}

TEST_CASE("padding repeats the first row, up to the next size") {
  FakeEngine engine;
  auto batcher = engine.batcher({3, hours(1), {2, 5, 9}});
  CHECK(all_are(call_together(batcher, some_rows(3, 1, 4)), "right"));
  auto alone = engine.batcher({3, microseconds(0), {2, 5, 9}});
  CHECK(call(alone, Random().rows(1, 4)) == "right");
  CHECK(call(alone, Random().rows(2, 4)) == "right");
  CHECK(call(alone, Random().rows(3, 4)) == "right");
  CHECK(engine.sizes() == std::vector<std::int64_t>{2, 2, 5, 5});
  for (const auto& run : engine.runs()) {
    if (run.count != 5) continue;
    for (std::size_t row = 3; row < 5; ++row) {
      CHECK(run.id[row] == run.id[0]);
      CHECK(std::equal(run.x.begin(), run.x.begin() + 4, run.x.data() + row * 4));
    }
  }
}

TEST_CASE("samples of different shapes share no run") {
  FakeEngine engine;
  auto batcher = engine.batcher(patient(4));
  auto requests = some_rows(4, 1, 3);
  std::ranges::move(some_rows(4, 1, 7), std::back_inserter(requests));
  std::ranges::shuffle(requests, std::mt19937(std::random_device{}()));
  CHECK(all_are(call_together(batcher, requests), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{4, 4});
}

TEST_CASE("only sizes that a profile takes with these samples are run") {
  FakeEngine engine;
  engine.inputs[0].profiles = {range({1, 1}, {8, 4}), range({1, 5}, {2, 9})};
  engine.inputs[1].profiles = {range({1}, {8}), range({1}, {2})};
  auto batcher = engine.batcher({8, hours(1), {2, 8}});
  CHECK(all_are(call_together(batcher, some_rows(2, 1, 9)), "right"));
  CHECK(all_are(call_together(batcher, some_rows(8, 1, 4)), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{2, 8});
  CHECK(call(batcher, Random().rows(3, 9)) == "right");  // alone: no batch of such holds three
  CHECK(engine.sizes() == std::vector<std::int64_t>{2, 3, 8});
}

TEST_CASE("a call without room in a batch sends it off") {
  FakeEngine engine;
  auto batcher = engine.batcher({4, hours(1), {3, 4}});
  const auto requests = some_rows(2, 3, 5);
  std::atomic<int> answered = 0;
  in_threads(2, [&](std::size_t i) {
    CHECK(call(batcher, requests[i]) == "right");
    // The second has the delay before it; the first would too if it were not sent off.
    if (++answered == 1) batcher.stop_waiting();
  });
  CHECK(answered == 2);
  CHECK(engine.sizes() == std::vector<std::int64_t>{3, 3});
}

TEST_CASE("no batch waits after stop_waiting") {
  FakeEngine engine;
  auto batcher = engine.batcher(patient(4));
  std::jthread caller([&] { CHECK(call(batcher, Random().rows(1, 5)) == "right"); });
  batcher.stop_waiting();
  caller.join();
  CHECK(call(batcher, Random().rows(1, 5)) == "right");
}

TEST_CASE("a bad request fails alone") {
  FakeEngine engine;
  auto batcher = engine.batcher(patient(6));
  auto requests = some_rows(6, 1, 5);
  requests[3].x[2] = std::numeric_limits<float>::quiet_NaN();
  auto answers = call_together(batcher, requests);
  CHECK(std::exchange(answers[3], "right") == "Error: not a number");
  CHECK(all_are(answers, "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{1, 1, 1, 1, 1, 1, 6});
  batcher.stop_waiting();
  CHECK(call(batcher, requests[3]) == "Error: not a number");
  CHECK(call(batcher, requests[2]) == "right");
  CHECK(engine.runs().size() == 9);  // what failed alone is not tried again
}

TEST_CASE("under load too, only bad requests fail, until all do as the engine is closed") {
  FakeEngine engine(2);
  auto batcher = engine.batcher({8, microseconds(100), {1, 2, 4, 8}});
  std::atomic<int> served = 0;
  in_threads(8, [&](auto) {
    Random random;
    while (true) {
      auto rows = random.rows(1 + random.below(2), 3);
      const bool bad = random.below(10) == 0;
      if (bad) rows.x[1] = std::numeric_limits<float>::quiet_NaN();
      const auto answer = call(batcher, rows);
      if (answer == "Error: the engine is closed") break;
      CHECK(answer == (bad ? "Error: not a number" : "right"));
      if (++served == 1000) engine.closed = true;
    }
  });
  CHECK(served >= 1000);
}

TEST_CASE("a closed engine's error reaches every caller") {
  FakeEngine engine;
  engine.closed = true;
  auto batcher = engine.batcher(patient(5));
  CHECK(all_are(call_together(batcher, some_rows(5, 1, 3)), "Error: the engine is closed"));
  batcher.stop_waiting();
  CHECK(call(batcher, Random().rows(1, 3)) == "Error: the engine is closed");
  CHECK(engine.runs().empty());

  auto padding = engine.batcher({2, microseconds(0), {2}});
  CHECK(call(padding, Random().rows(1, 3)) == "Error: the engine is closed");
  engine.closed = false;  // the failed batch is not there to be joined any more
  CHECK(call(padding, Random().rows(1, 3)) == "right");
  CHECK(engine.sizes() == std::vector<std::int64_t>{2});
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they abort instead
TEST_CASE("calls that there is no memory to gather run alone, and none waits for the delay") {
  FakeEngine engine;
  constexpr std::int64_t width = std::int64_t{1} << 48;  // more than there are addresses
  engine.inputs[0].profiles = {range({1, 1}, {64, width})};
  std::atomic<int> runs = 0;
  Batcher batcher(
      engine.inputs, engine.outputs, nullptr,
      [&](const auto& work) {
        work([&](std::span<const InputArray> arrays, std::span<OutputArray> results) {
          CHECK(arrays[0].shape == Dims{1, width});
          ++runs;
          give(results[0], {1, 1}, std::vector<float>{1});
          give(results[1], {1}, std::vector<std::int64_t>{1});
        });
      },
      patient(8));
  in_threads(2, [&](auto) {
    const std::vector<InputArray> inputs{{nullptr, {1, width}, Place::host},
                                         {nullptr, {1}, Place::host}};
    std::vector<OutputArray> outputs(2);
    CHECK_NOTHROW(batcher.infer(inputs, outputs));
    CHECK(outputs[0].shape == Dims{1, 1});
  });
  CHECK(runs == 2);
}
#endif

TEST_CASE("a call that only its padding is too large for runs without") {
  FakeEngine engine;
  engine.room = 3;
  auto batcher = engine.batcher({4, microseconds(0), {4}});
  CHECK(call(batcher, Random().rows(3, 3)) == "right");
  CHECK(call(batcher, Random().rows(4, 3)) == "Error: no memory");
  CHECK(engine.sizes() == std::vector<std::int64_t>{3, 4, 4});
}

TEST_CASE("a target of the wrong shape is refused, its neighbours are served") {
  FakeEngine engine;
  auto batcher = engine.batcher(patient(4));
  auto answers = call_together(batcher, some_rows(4, 1, 5), {5, 0, 6, 5});
  CHECK(std::exchange(answers[2], "right") ==
        "InputError: y: the result has shape (1, 5), but out= has shape (1, 6)");
  CHECK(all_are(answers, "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{4});

  engine.outputs[0].shape = {-1, 5};  // known before the run, so this one joins no batch
  CHECK(call(batcher, Random().rows(1, 5), 6) ==
        "InputError: y: the result has shape (1, 5), but out= has shape (1, 6)");
  CHECK(engine.sizes() == std::vector<std::int64_t>{4});
}

TEST_CASE("results that cannot be split are an error for all, alone too") {
  FakeEngine engine;
  engine.merges_rows = true;
  auto batcher = engine.batcher(patient(4));
  CHECK(
      all_are(call_together(batcher, some_rows(4, 1, 5)),
              "Error: twice: cannot be split: the result of a batch of 4 samples has shape (1,)"));
  batcher.stop_waiting();
  auto alone = engine.batcher({4, microseconds(0), {2, 4}});
  CHECK(call(alone, Random().rows(2, 5)) ==
        "Error: twice: cannot be split: the result of a batch of 2 samples has shape (1,)");
}

TEST_CASE("what cannot share a run is not accepted") {
  FakeEngine engine;
  const auto batcher = engine.batcher(patient(4));
  const auto accepts = [&](const InputArray& x, const InputArray& id, Place place = Place::host) {
    std::vector<OutputArray> outputs(2);
    outputs[1].place = place;
    return batcher.accepts(std::vector{x, id}, outputs);
  };
  const auto host = [](Dims shape) { return InputArray{nullptr, shape, Place::host}; };
  CHECK(accepts(host({4, 3}), host({4})));
  CHECK_FALSE(accepts(host({5, 3}), host({5})));
  CHECK_FALSE(accepts(host({0, 3}), host({0})));
  CHECK_FALSE(accepts(host({2, 3}), host({1})));
  CHECK_FALSE(accepts(host({2, 3}), host({})));
  CHECK_FALSE(accepts(host({}), host({2})));
  CHECK_FALSE(accepts(host({2, 3}), {nullptr, {2}, Place::device}));
  CHECK_FALSE(accepts(host({2, 3}), host({2}), Place::device));
  CHECK_FALSE(batcher.accepts(std::vector{host({2, 3})}, std::vector<OutputArray>(2)));
}

std::string refusal(const std::vector<IoTensor>& inputs, const std::vector<IoTensor>& outputs,
                    BatchingOptions options = {4, microseconds(0), {4}}) {
  try {
    const Batcher batcher(inputs, outputs, nullptr, [](const auto&) {}, std::move(options));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("an engine that cannot be batched is refused, and why") {
  const auto x = tensor("x", DataType::float32, {-1, 3}, {range({1, 3}, {8, 3})});
  const auto y = tensor("y", DataType::float32, {-1});
  CHECK(refusal({x}, {y}).empty());
  CHECK(refusal({}, {y}) == "an engine without inputs cannot be batched");
  CHECK(refusal({x}, {tensor("y", DataType::float32, {4})}) ==
        "y: cannot be batched: its dimension 0 is not dynamic, the shape is (4,)");
  CHECK(refusal({x}, {tensor("y", DataType::float32, {})}) ==
        "y: cannot be batched: its dimension 0 is not dynamic, the shape is ()");
  CHECK(refusal({x}, {tensor("y", DataType::int4, {-1, 3})}) ==
        "y: cannot be batched: rows of int4 share bytes");
  auto shape_tensor = x;
  shape_tensor.on_host = true;
  CHECK(refusal({shape_tensor}, {y}) == "x: cannot be batched: it is a shape tensor");
  auto small = x;
  small.name = "small";
  small.profiles = {range({1, 3}, {2, 3})};
  CHECK(refusal({x, small}, {y}) ==
        "small: a batch of 4 samples fits no profile: min (1, 3), opt (1, 3), max (2, 3)");
  auto first = x;
  auto second = x;
  first.profiles.push_back(small.profiles[0]);
  second.profiles.insert(second.profiles.begin(), small.profiles[0]);
  CHECK(refusal({first, second}, {y}) ==
        "a batch of 4 samples fits no profile that every input has");
}

TEST_CASE("options that contradict themselves are refused") {
  const std::vector x{tensor("x", DataType::float32, {-1, 3}, {range({1, 3}, {8, 3})})};
  const std::string sizes = "batch sizes are positive, ascending, and reach the largest batch";
  const std::string delay = "a batch's delay is between 0 and 24 hours";
  CHECK(refusal(x, {}, {0, microseconds(0), {4}}) == "a batch holds at least one sample");
  CHECK(refusal(x, {}, {4, microseconds(-1), {4}}) == delay);
  CHECK(refusal(x, {}, {4, microseconds::max(), {4}}) == delay);
  CHECK(refusal(x, {}, {4, microseconds(0), {}}) == sizes);
  CHECK(refusal(x, {}, {4, microseconds(0), {0, 4}}) == sizes);
  CHECK(refusal(x, {}, {4, microseconds(0), {2, 2, 4}}) == sizes);
  CHECK(refusal(x, {}, {4, microseconds(0), {1, 2}}) == sizes);
  CHECK(refusal(x, {}, {4, microseconds(0), {3, 8}}).empty());
  CHECK_FALSE(refusal(x, {}, {4, microseconds(0), {3, 9}}).empty());
}

}  // namespace
}  // namespace fasttrt::engine
