#include "engine/dispatcher.hpp"

#include <doctest/doctest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include "common/error.hpp"
#include "cuda/driver_fake.hpp"
#include "engine/completion_channel.hpp"

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

// Stands in for engines on so many devices with so many sessions each, and remembers what it ran.
class FakeEngine {
 public:
  explicit FakeEngine(int sessions = 1, std::size_t devices = 1)
      : sessions_(sessions), free_(devices, sessions) {}

  std::unique_ptr<Dispatcher> dispatcher(std::optional<BatchingOptions> batching) {
    DispatcherOptions options;
    options.workers = sessions_;
    options.batching = std::move(batching);
    return dispatcher(options);
  }
  std::unique_ptr<Dispatcher> dispatcher(const DispatcherOptions& options);
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
  // Whether all sessions are back, soon.
  bool is_idle() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] {
      return std::ranges::all_of(free_, [&](int free) { return free == sessions_; });
    });
  }
  // Rows that were brought early and then run, or not run.
  std::int64_t ahead = 0;
  std::int64_t wasted = 0;

  std::vector<IoTensor> inputs{
      tensor("x", DataType::float32, {-1, -1}, {range({1, 0}, {64, 1 << 20})}),
      tensor("id", DataType::int64, {-1}, {range({1}, {64})})};
  std::vector<IoTensor> outputs{tensor("y", DataType::float32, {-1, -1}),
                                tensor("twice", DataType::int64, {-1})};
  milliseconds duration{0};
  bool merges_rows = false;
  bool gathers = false;
  CopyPool* copies = nullptr;  // who shares the copying of requests
  bool pads = false;           // on the device
  std::int64_t room = 64;      // rows that there is memory for
  std::atomic<bool> closed = false;
  std::atomic<bool> is_held = false;          // runs do not end
  std::atomic<std::int64_t> held_width = -1;  // those of such samples
  std::atomic<const void*> last_data = nullptr;
  std::atomic<std::thread::id> last_thread;

 private:
  class FakeRunner;
  class FakePlace;

  bool take_session(std::size_t device, bool waits) {
    std::unique_lock lock(mutex_);
    if (!waits && free_[device] == 0) return false;
    changed_.wait(lock, [&] { return free_[device] > 0; });
    if (closed) throw Error("the engine is closed");
    --free_[device];
    return true;
  }
  void give_back(std::size_t device) {
    const std::lock_guard lock(mutex_);
    ++free_[device];
    changed_.notify_all();
  }

  void run(std::span<const InputArray> arrays, std::span<OutputArray> results) {
    const auto count = arrays[0].shape[0];
    const auto width = arrays[0].shape[1];
    const Rows rows{count, width, copy_of<float>(arrays[0].data, count * width),
                    copy_of<std::int64_t>(arrays[1].data, arrays[1].shape[0])};
    last_data = arrays[0].data;
    last_thread = std::this_thread::get_id();
    {
      const std::lock_guard lock(mutex_);
      runs_.push_back(rows);
    }
    std::this_thread::sleep_for(duration);
    while (is_held || held_width == width) std::this_thread::yield();
    if (count > room) throw OutOfMemoryError("no memory");
    if (std::ranges::any_of(rows.x, [](float x) { return std::isnan(x); })) {
      throw Error("not a number");
    }
    const auto values = compute(rows);
    give(results[0], {count, width}, values.y);
    give(results[1], {merges_rows ? 1 : count}, values.twice);
  }

  const int sessions_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> free_;
  std::vector<Rows> runs_;
};

class FakeEngine::FakePlace final : public GatheredRun {
 public:
  FakePlace(FakeEngine& engine, std::size_t device) : engine_(engine), device_(device) {}
  ~FakePlace() override {
    {
      const std::lock_guard lock(engine_.mutex_);
      engine_.wasted += uploaded_;
    }
    engine_.give_back(device_);
  }

  void upload(std::size_t input, const HostRows& rows, std::int64_t begin,
              std::int64_t end) override {
    CHECK(rows.capacity >= end);
    if (input > 0) return;
    CHECK(begin == uploaded_);
    const auto* const first = static_cast<const std::byte*>(rows.data);
    copied_.assign(first, first + static_cast<std::size_t>(end) * rows.row_bytes);
    uploaded_ = end;
  }
  bool pad(std::size_t input, const HostRows& rows, std::int64_t end) override {
    CHECK(rows.capacity > end);
    if (input > 0 || !engine_.pads) return false;
    const auto* const first = static_cast<const std::byte*>(rows.data);
    copied_.assign(first, first + static_cast<std::size_t>(end) * rows.row_bytes);
    while (copied_.size() < static_cast<std::size_t>(rows.capacity) * rows.row_bytes) {
      copied_.push_back(copied_[copied_.size() - static_cast<std::size_t>(end) * rows.row_bytes]);
    }
    is_padded_ = true;
    return true;
  }
  void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) override {
    CHECK(uploaded_ <= inputs[0].shape[0]);
    std::vector<InputArray> arrays(inputs.begin(), inputs.end());
    if (is_padded_) {
      arrays[0].data = copied_.data();
    } else {
      const auto* const data = static_cast<const std::byte*>(inputs[0].data);
      CHECK(std::equal(copied_.begin(), copied_.end(), data));
    }
    {
      const std::lock_guard lock(engine_.mutex_);
      engine_.ahead += std::exchange(uploaded_, 0);
    }
    engine_.run(arrays, outputs);
  }

 private:
  FakeEngine& engine_;
  std::size_t device_;
  std::vector<std::byte> copied_;
  std::int64_t uploaded_ = 0;
  bool is_padded_ = false;
};

class FakeEngine::FakeRunner final : public Runner {
 public:
  FakeRunner(FakeEngine& engine, std::size_t device) : engine_(engine), device_(device) {}

  void run(Request& /*request*/) override {}
  void run(std::span<const InputArray> inputs, std::span<OutputArray> outputs) override {
    gather()->run(inputs, outputs);
  }
  std::unique_ptr<GatheredRun> gather() override {
    std::ignore = engine_.take_session(device_, true);
    return std::make_unique<FakePlace>(engine_, device_);
  }
  std::unique_ptr<GatheredRun> try_gather(std::size_t /*largest_input*/) override {
    if (!engine_.gathers || !engine_.take_session(device_, false)) return nullptr;
    return std::make_unique<FakePlace>(engine_, device_);
  }

 private:
  FakeEngine& engine_;
  std::size_t device_;
};

std::unique_ptr<Dispatcher> FakeEngine::dispatcher(const DispatcherOptions& options) {
  std::vector<std::unique_ptr<Runner>> runners;
  runners.reserve(free_.size());
  for (std::size_t i = 0; i < free_.size(); ++i) {
    runners.push_back(std::make_unique<FakeRunner>(*this, i));
  }
  return std::make_unique<Dispatcher>(std::move(runners),
                                      RunTensors{inputs, outputs, nullptr, copies}, options);
}

// A request with arrays of its own.
class OwnRequest final : public Request {
 public:
  explicit OwnRequest(Rows given, std::int64_t target_width = 0)
      : rows(std::move(given)),
        target(static_cast<std::size_t>(rows.count * target_width)),
        inputs_{{rows.x.data(), {rows.count, rows.width}, Place::host},
                {rows.id.data(), {std::ssize(rows.id)}, Place::host}},
        outputs_(2) {
    if (target_width == 0) return;
    outputs_[0].target = target.data();
    outputs_[0].shape = {rows.count, target_width};
  }
  [[nodiscard]] std::span<const InputArray> inputs() const noexcept override { return inputs_; }
  [[nodiscard]] std::span<OutputArray> outputs() noexcept override { return outputs_; }

  // As anybody may once it is staged.
  void spoil() { std::ranges::fill(rows.x, std::numeric_limits<float>::quiet_NaN()); }

  // Once it is done: an error's text, or results that are right, or wrong ones.
  std::string answer(const Rows& asked) {
    if (outcome() == Outcome::cancelled) return "cancelled";
    if (const auto text = error_text(error()); !text.empty()) return text;
    if (outputs_[0].shape != inputs_[0].shape || outputs_[1].shape != inputs_[1].shape) {
      return "shape";
    }
    const Results got{copy_of<float>(outputs_[0].data(), asked.count * asked.width),
                      copy_of<std::int64_t>(outputs_[1].data(), asked.count)};
    return got == compute(asked) ? "right" : "wrong";
  }

  static std::string error_text(const std::exception_ptr& error) {
    try {
      if (error != nullptr) std::rethrow_exception(error);
    } catch (const InputError& found) {
      return std::string("InputError: ") + found.what();
    } catch (const DeadlineError&) {
      return "late";
    } catch (const Error& found) {
      return std::string("Error: ") + found.what();
    }
    return "";
  }

  Rows rows;
  std::vector<float> target;

 private:
  std::vector<InputArray> inputs_;
  std::vector<OutputArray> outputs_;
};

constexpr auto patience = std::chrono::seconds(60);

bool wait_for(const Request& request) {
  return request.wait_until(Request::Clock::now() + patience);
}

// What a caller that waits gets.
std::string call(Dispatcher& dispatcher, const Rows& rows, std::int64_t target_width = 0) {
  const Ref<OwnRequest> request(new OwnRequest(rows, target_width));
  try {
    dispatcher.run(request);
  } catch (...) {
    return OwnRequest::error_text(std::current_exception());
  }
  return wait_for(*request) ? request->answer(rows) : "never";
}

// A request that others may have changed since.
struct Submitted {
  Submitted(Dispatcher& dispatcher, Rows given, Priority priority = Priority::normal,
            std::optional<milliseconds> timeout = std::nullopt)
      : rows(std::move(given)), request(new OwnRequest(rows)) {
    request->priority = priority;
    if (timeout) request->deadline = Request::Clock::now() + *timeout;
    dispatcher.submit(request, Staging::copy);
    request->spoil();
  }
  [[nodiscard]] std::string answer() const {
    return wait_for(*request) ? request->answer(rows) : "never";
  }

  Rows rows;
  Ref<OwnRequest> request;
};

// Calls f(0), f(1), ... at once and waits.
template <class F>
void in_threads(std::size_t count, F f) {
  std::vector<std::jthread> threads;
  threads.reserve(count);
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back([&f, i] { f(i); });
}

// Calls with all of them at once.
std::vector<std::string> call_together(Dispatcher& dispatcher, const std::vector<Rows>& requests,
                                       const std::vector<std::int64_t>& target_widths = {}) {
  std::vector<std::string> answers(requests.size());
  in_threads(requests.size(), [&](std::size_t i) {
    answers[i] = call(dispatcher, requests[i], target_widths.empty() ? 0 : target_widths[i]);
  });
  return answers;
}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): how many, and of what shape
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
  const auto dispatcher = engine.dispatcher(patient(8));
  CHECK(all_are(call_together(*dispatcher, some_rows(8, 1, 5)), "right"));
  CHECK(all_are(call_together(*dispatcher, some_rows(4, 2, 5)), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{8, 8});
}

TEST_CASE("large requests of one sender are copied by several threads, before it may change them") {
  CopyPool copies(2);
  const auto rows = some_rows(48, 1, 1 << 16);  // 256 KiB, in 16 chunks
  for (const auto& batching : {std::optional(patient(16)), std::optional<BatchingOptions>()}) {
    FakeEngine engine;
    engine.copies = &copies;
    const auto dispatcher = engine.dispatcher(batching);
    std::vector<Ref<OwnRequest>> requests;
    for (const auto& row : rows) {
      requests.emplace_back(new OwnRequest(row));
      requests.back()->shares_copies = true;
      dispatcher->submit(requests.back(), Staging::copy);
      requests.back()->spoil();
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      REQUIRE(wait_for(*requests[i]));
      CHECK(requests[i]->answer(rows[i]) == "right");
    }
  }
}

TEST_CASE("memory for batches is there before the first of them, each in a block of its own") {
  if (!cuda::FakeDriver::find()) return;
  constexpr std::size_t batch = std::size_t{4} * 64 << 10;  // rows of 64 KiB
  const std::vector inputs{tensor("x", DataType::float32, {-1, 1 << 14}, {}),
                           tensor("any", DataType::float32, {-1, -1}, {}),
                           tensor("id", DataType::int64, {-1}, {})};
  const auto pool = std::make_shared<PinnedPool>(cuda::PrimaryContext::retain(0));
  reserve({inputs, {}, pool, nullptr}, 4, 3);
  CHECK(pool->idle_bytes() == 3 * batch);  // small ones are not of the pool
  reserve({inputs, {}, pool, nullptr}, 4, 3);
  CHECK(pool->idle_bytes() == 3 * batch);
  pool->close();
}

TEST_CASE("results large and empty are shared out too") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(patient(3));
  CHECK(all_are(call_together(*dispatcher, some_rows(3, 1, 1 << 16)), "right"));
  CHECK(all_are(call_together(*dispatcher, some_rows(3, 1, 0)), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{3, 3});
}

TEST_CASE("many threads and shapes: every caller gets its own results") {
  for (const int sessions : {1, 3}) {
    for (const int delay : {0, 300}) {
      FakeEngine engine(sessions);
      const auto dispatcher =
          engine.dispatcher(BatchingOptions{16, microseconds(delay), {2, 5, 8, 20}});
      std::atomic<int> right = 0;
      constexpr int requests = 150;
      constexpr int callers = 8;
      in_threads(callers, [&](auto) {
        Random random;
        for (int i = 0; i < requests; ++i) {
          const auto rows = random.rows(1 + random.below(4), 3 + 4 * random.below(2));
          const auto target = random.below(2) == 0 ? 0 : rows.width;
          if (call(*dispatcher, rows, target) == "right") ++right;
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
  const auto dispatcher = engine.dispatcher(BatchingOptions{8, microseconds(0), {1, 2, 4, 8}});
  CHECK(all_are(call_together(*dispatcher, some_rows(32, 1, 5)), "right"));
  CHECK(engine.runs().size() < 32);
}

TEST_CASE("a call that nobody joins runs in its own arrays") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, microseconds(0), {1, 2, 4}});
  const auto rows = Random().rows(2, 5);
  const Ref<OwnRequest> request(new OwnRequest(rows, 5));
  dispatcher->run(request);
  CHECK(request->is_done());
  CHECK(request->answer(rows) == "right");
  CHECK(engine.last_data == request->rows.x.data());
  CHECK(engine.last_thread == std::this_thread::get_id());
  CHECK(call(*dispatcher, rows, 6) == "InputError: out= has another shape");
}

TEST_CASE("padding repeats the first rows, up to the next size, on the host or the device") {
  FakeEngine engine;
  SUBCASE("on the host") {}
  SUBCASE("on the device") { engine.pads = true; }
  const auto dispatcher = engine.dispatcher(BatchingOptions{3, hours(1), {2, 5, 9}});
  CHECK(all_are(call_together(*dispatcher, some_rows(3, 1, 4)), "right"));
  const auto alone = engine.dispatcher(BatchingOptions{3, microseconds(0), {2, 5, 9}});
  CHECK(call(*alone, Random().rows(1, 4)) == "right");
  CHECK(call(*alone, Random().rows(2, 4)) == "right");
  CHECK(call(*alone, Random().rows(3, 4)) == "right");
  CHECK(engine.sizes() == std::vector<std::int64_t>{2, 2, 5, 5});
  for (const auto& run : engine.runs()) {
    if (run.count != 5) continue;
    for (std::size_t row = 3; row < 5; ++row) {
      CHECK(run.id[row] == run.id[row - 3]);
      const auto* const x = run.x.data() + row * 4;
      CHECK(std::equal(x, x + 4, x - 12));
    }
  }
}

TEST_CASE("samples of different shapes share no run") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(patient(4));
  auto requests = some_rows(4, 1, 3);
  std::ranges::move(some_rows(4, 1, 7), std::back_inserter(requests));
  std::ranges::shuffle(requests, std::mt19937(std::random_device{}()));
  CHECK(all_are(call_together(*dispatcher, requests), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{4, 4});
}

TEST_CASE("only sizes that a profile takes with these samples are run") {
  FakeEngine engine;
  engine.inputs[0].profiles = {range({1, 1}, {8, 4}), range({1, 5}, {3, 9})};
  engine.inputs[1].profiles = {range({1}, {8}), range({1}, {3})};
  const BatchingOptions options{8, hours(1), {2, 8}};
  CHECK(all_are(call_together(*engine.dispatcher(options), some_rows(2, 1, 9)), "right"));
  const auto dispatcher = engine.dispatcher(options);
  CHECK(all_are(call_together(*dispatcher, some_rows(8, 1, 4)), "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{2, 8});
  CHECK(call(*dispatcher, Random().rows(3, 9)) == "right");  // alone: no batch of such holds three
  CHECK(engine.sizes() == std::vector<std::int64_t>{2, 3, 8});
}

TEST_CASE("a call without room in a batch sends it off") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, hours(1), {3, 4}});
  const auto requests = some_rows(2, 3, 5);
  std::atomic<int> answered = 0;
  in_threads(2, [&](std::size_t i) {
    CHECK(call(*dispatcher, requests[i]) == "right");
    // The second has the delay before it; the first would too if it were not sent off.
    if (++answered == 1) dispatcher->flush();
  });
  CHECK(answered == 2);
  CHECK(engine.sizes() == std::vector<std::int64_t>{3, 3});
}

TEST_CASE("no batch waits after stop_waiting") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(patient(4));
  std::jthread caller([&] { CHECK(call(*dispatcher, Random().rows(1, 5)) == "right"); });
  dispatcher->flush();
  caller.join();
  CHECK(call(*dispatcher, Random().rows(1, 5)) == "right");
}

TEST_CASE("a bad request fails alone") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(patient(6));
  auto requests = some_rows(6, 1, 5);
  requests[3].x[2] = std::numeric_limits<float>::quiet_NaN();
  auto answers = call_together(*dispatcher, requests);
  CHECK(std::exchange(answers[3], "right") == "Error: not a number");
  CHECK(all_are(answers, "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{1, 1, 1, 1, 1, 1, 6});
  dispatcher->flush();
  CHECK(call(*dispatcher, requests[3]) == "Error: not a number");
  CHECK(call(*dispatcher, requests[2]) == "right");
  CHECK(engine.runs().size() == 9);  // what failed alone is not tried again
}

TEST_CASE("under load too, only bad requests fail, until all do as the engine is closed") {
  FakeEngine engine(2);
  const auto dispatcher = engine.dispatcher(BatchingOptions{8, microseconds(100), {1, 2, 4, 8}});
  std::atomic<int> served = 0;
  in_threads(8, [&](auto) {
    Random random;
    while (true) {
      auto rows = random.rows(1 + random.below(2), 3);
      const bool bad = random.below(10) == 0;
      if (bad) rows.x[1] = std::numeric_limits<float>::quiet_NaN();
      const auto answer = call(*dispatcher, rows);
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
  const auto dispatcher = engine.dispatcher(patient(5));
  CHECK(all_are(call_together(*dispatcher, some_rows(5, 1, 3)), "Error: the engine is closed"));
  dispatcher->flush();
  CHECK(call(*dispatcher, Random().rows(1, 3)) == "Error: the engine is closed");
  CHECK(engine.runs().empty());

  const auto padding = engine.dispatcher(BatchingOptions{2, microseconds(0), {2}});
  CHECK(call(*padding, Random().rows(1, 3)) == "Error: the engine is closed");
  engine.closed = false;  // the failed batch is not there to be joined any more
  CHECK(call(*padding, Random().rows(1, 3)) == "right");
  CHECK(engine.sizes() == std::vector<std::int64_t>{2});
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they abort instead
// As large as no memory is, and never looked at.
class HugeRequest final : public Request {
 public:
  static constexpr std::int64_t width = std::int64_t{1} << 48;
  [[nodiscard]] std::span<const InputArray> inputs() const noexcept override { return inputs_; }
  [[nodiscard]] std::span<OutputArray> outputs() noexcept override { return outputs_; }

 private:
  std::vector<InputArray> inputs_{{nullptr, {1, width}, Place::host}, {nullptr, {1}, Place::host}};
  std::vector<OutputArray> outputs_ = std::vector<OutputArray>(2);
};

class HugeRunner final : public Runner {
 public:
  explicit HugeRunner(std::atomic<int>& runs) : runs_(runs) {}
  void run(Request& /*request*/) override {}
  void run(std::span<const InputArray> arrays, std::span<OutputArray> results) override {
    CHECK(arrays[0].shape == Dims{1, HugeRequest::width});
    ++runs_;
    give(results[0], {1, 1}, std::vector<float>{1});
    give(results[1], {1}, std::vector<std::int64_t>{1});
  }
  std::unique_ptr<GatheredRun> gather() override { return nullptr; }
  std::unique_ptr<GatheredRun> try_gather(std::size_t /*bytes*/) override { return nullptr; }

 private:
  std::atomic<int>& runs_;
};

TEST_CASE("calls that there is no memory to gather run alone, and none waits for the delay") {
  FakeEngine engine;
  engine.inputs[0].profiles = {range({1, 1}, {64, HugeRequest::width})};
  std::atomic<int> runs = 0;
  std::vector<std::unique_ptr<Runner>> runners;
  runners.push_back(std::make_unique<HugeRunner>(runs));
  DispatcherOptions options;
  options.batching = patient(8);
  Dispatcher dispatcher(std::move(runners), {engine.inputs, engine.outputs, nullptr}, options);
  in_threads(2, [&](auto) {
    const Ref<HugeRequest> request(new HugeRequest);
    dispatcher.run(request);
    CHECK(wait_for(*request));
    CHECK(request->outcome() == Outcome::ok);
    CHECK(request->outputs()[0].shape == Dims{1, 1});
  });
  CHECK(runs == 2);
  const Ref<HugeRequest> staged(new HugeRequest);
  CHECK_THROWS_AS(dispatcher.submit(staged, Staging::copy), OutOfMemoryError);
  CHECK(dispatcher.statistics().waiting == 0);
}
#endif

TEST_CASE("a call that only its padding is too large for runs without") {
  FakeEngine engine;
  engine.room = 3;
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, microseconds(0), {4}});
  CHECK(call(*dispatcher, Random().rows(3, 3)) == "right");
  CHECK(call(*dispatcher, Random().rows(4, 3)) == "Error: no memory");
  CHECK(engine.sizes() == std::vector<std::int64_t>{3, 4, 4});
}

TEST_CASE("a target of the wrong shape is refused, its neighbours are served") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(patient(4));
  auto answers = call_together(*dispatcher, some_rows(4, 1, 5), {5, 0, 6, 5});
  CHECK(std::exchange(answers[2], "right") ==
        "InputError: y: the result has shape (1, 5), but out= has shape (1, 6)");
  CHECK(all_are(answers, "right"));
  CHECK(engine.sizes() == std::vector<std::int64_t>{4});

  engine.outputs[0].shape = {-1, 5};  // known before the run, so this one joins no batch
  CHECK(call(*dispatcher, Random().rows(1, 5), 6) ==
        "InputError: y: the result has shape (1, 5), but out= has shape (1, 6)");
  CHECK(engine.sizes() == std::vector<std::int64_t>{4});
}

TEST_CASE("results that cannot be split are an error for all, alone too") {
  FakeEngine engine;
  engine.merges_rows = true;
  const auto dispatcher = engine.dispatcher(patient(4));
  CHECK(
      all_are(call_together(*dispatcher, some_rows(4, 1, 5)),
              "Error: twice: cannot be split: the result of a batch of 4 samples has shape (1,)"));
  dispatcher->flush();
  const auto alone = engine.dispatcher(BatchingOptions{4, microseconds(0), {2, 4}});
  CHECK(call(*alone, Random().rows(2, 5)) ==
        "Error: twice: cannot be split: the result of a batch of 2 samples has shape (1,)");
}

TEST_CASE("what is submitted may be changed at once, and is staged alone or in a batch") {
  FakeEngine engine(2);
  for (const auto& batching : {std::optional<BatchingOptions>(), std::optional(patient(4))}) {
    const auto dispatcher = engine.dispatcher(batching);
    std::vector<Submitted> requests;
    for (const auto& rows : some_rows(8, 1, 1 << 14)) requests.emplace_back(*dispatcher, rows);
    for (const auto& request : requests) CHECK(request.answer() == "right");
  }
}

TEST_CASE("two devices take turns as they are free") {
  FakeEngine engine(1, 2);
  engine.duration = milliseconds(5);
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, microseconds(100), {1, 2, 4}});
  std::atomic<int> right = 0;
  in_threads(12, [&](auto) {
    Random random;
    for (int i = 0; i < 10; ++i) {
      if (call(*dispatcher, random.rows(1, 5)) == "right") ++right;
    }
  });
  CHECK(right == 120);
}

TEST_CASE("an open batch is brought to its device while another one runs") {
  FakeEngine engine(2);
  engine.gathers = true;
  engine.duration = milliseconds(5);
  const auto dispatcher = engine.dispatcher(BatchingOptions{8, microseconds(200), {2, 4, 8}});
  std::atomic<int> right = 0;
  in_threads(12, [&](auto) {
    Random random;
    for (int i = 0; i < 20; ++i) {
      const auto rows = random.rows(1 + random.below(2), random.below(4) == 0 ? 3 : 6);
      if (call(*dispatcher, rows) == "right") ++right;
    }
  });
  dispatcher->close(true);
  CHECK(right == 240);
  CHECK(engine.ahead > 0);
}

TEST_CASE("an open batch holds no place that another run waits for") {
  FakeEngine engine;
  engine.gathers = true;
  DispatcherOptions options;
  options.workers = 2;  // one more than sessions, as engines have them
  options.batching = BatchingOptions{4, milliseconds(4), {1, 4}};
  const auto dispatcher = engine.dispatcher(options);
  for (int i = 0; i < 100; ++i) {
    const Submitted open(*dispatcher, Random().rows(1, 3));
    if (i % 2 == 0) std::this_thread::sleep_for(microseconds(200));
    const Submitted full(*dispatcher, Random().rows(4, 5));
    REQUIRE(full.answer() == "right");
    REQUIRE(open.answer() == "right");
  }
}

TEST_CASE("no device gathers what another one is free for") {
  for (int i = 0; i < 20; ++i) {
    FakeEngine engine(2, 2);
    engine.gathers = true;
    const auto dispatcher = engine.dispatcher(BatchingOptions{4, milliseconds(1), {1, 4}});
    engine.held_width = 5;
    const Submitted held(*dispatcher, Random().rows(4, 5));
    while (!held.request->is_running()) std::this_thread::yield();
    const Submitted next(*dispatcher, Random().rows(1, 3));
    const bool is_done = next.request->wait_until(Request::Clock::now() + std::chrono::seconds(10));
    engine.held_width = -1;
    REQUIRE(is_done);
    CHECK(next.answer() == "right");
    CHECK(held.answer() == "right");
  }
}

TEST_CASE("a batch of which all requests are late leaves its place") {
  FakeEngine engine;
  engine.gathers = true;
  const auto dispatcher = engine.dispatcher(BatchingOptions{2, milliseconds(1), {2}});
  for (int i = 0; i < 200; ++i) {
    const Submitted late(*dispatcher, Random().rows(1, 3), Priority::normal, milliseconds(1));
    REQUIRE(wait_for(*late.request));
    REQUIRE(engine.is_idle());
  }
}

TEST_CASE("high priority goes first, in batches of its own") {
  FakeEngine engine;
  engine.is_held = true;
  const auto dispatcher = engine.dispatcher(BatchingOptions{2, microseconds(0), {2}});
  std::vector<Submitted> requests;
  const auto all = some_rows(9, 1, 3);
  requests.emplace_back(*dispatcher, all[0]);
  while (!requests[0].request->is_running()) std::this_thread::yield();
  for (std::size_t i = 1; i < all.size(); ++i) {
    requests.emplace_back(*dispatcher, all[i], i % 2 == 0 ? Priority::high : Priority::normal);
  }
  engine.is_held = false;
  for (const auto& request : requests) CHECK(request.answer() == "right");
  std::vector<std::int64_t> order;
  for (const auto& run : engine.runs()) order.insert(order.end(), run.id.begin(), run.id.end());
  std::vector<std::int64_t> expected;
  for (const auto i : std::initializer_list<std::size_t>{0, 0, 2, 4, 6, 8, 1, 3, 5, 7}) {
    expected.push_back(all[i].id[0]);
  }
  CHECK(order == expected);
}

TEST_CASE("a request leaves its batch where it is cancelled or late, and the others run") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(patient(4));
  const auto all = some_rows(5, 1, 3);
  const Submitted kept(*dispatcher, all[0]);
  const Submitted cancelled(*dispatcher, all[1]);
  const Submitted late(*dispatcher, all[2], Priority::normal, milliseconds(20));
  CHECK(dispatcher->statistics().waiting == 3);
  CHECK(dispatcher->cancel(*cancelled.request));
  CHECK_FALSE(dispatcher->cancel(*cancelled.request));
  CHECK(cancelled.answer() == "cancelled");
  CHECK(late.answer() == "late");
  CHECK_FALSE(kept.request->is_done());
  const Submitted last(*dispatcher, all[3]);
  CHECK(kept.answer() == "right");
  CHECK(last.answer() == "right");
  CHECK(engine.sizes() == std::vector<std::int64_t>{4});
  const Submitted alone(*dispatcher, all[4]);
  CHECK(dispatcher->cancel(*alone.request));
  const auto found = dispatcher->statistics();
  CHECK(found.waiting == 0);
  CHECK(found.most_waiting == 3);
  CHECK(found.ok == 2);
  CHECK(found.cancelled == 2);
  CHECK(found.late == 1);
  CHECK(found.runs == 1);
  CHECK(found.run_sizes == std::map<std::int64_t, std::uint64_t>{{4, 1}});
}

TEST_CASE("each request counts all of its batch's run, which counts once, without its padding") {
  FakeEngine engine;
  engine.is_held = true;
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, microseconds(0), {4}});
  const auto first = Random().rows(4, 3);
  const Submitted filling(*dispatcher, first);
  while (!filling.request->is_running()) std::this_thread::yield();
  const Rows two = Random().rows(2, 3);
  const Rows one = Random().rows(1, 3);
  const Submitted a(*dispatcher, two);
  const Submitted b(*dispatcher, one);
  std::this_thread::sleep_for(milliseconds(20));
  engine.is_held = false;
  for (const auto* request : {&filling, &a, &b}) CHECK(request->answer() == "right");
  const auto found = dispatcher->statistics();
  REQUIRE(found.batches.size() == 2);
  const auto& full = found.batches.at(4);
  const auto& padded = found.batches.at(3);
  CHECK(full.count == 1);
  CHECK(padded.count == 1);
  CHECK(full.run >= milliseconds(20));
  CHECK(padded.run > microseconds(0));
  CHECK(found.request_run == full.run + 2 * padded.run);
  CHECK(found.request_copy_out == full.copy_out + 2 * padded.copy_out);
  CHECK(found.request_queue >= milliseconds(40));  // two waited for the first one's run
}

TEST_CASE("only what ended well is in the sums of requests and batches; many sizes are one") {
  FakeEngine engine;
  engine.room = 3;
  const auto dispatcher = engine.dispatcher(std::nullopt);
  CHECK(call(*dispatcher, Random().rows(4, 3)) == "Error: no memory");
  CHECK(dispatcher->statistics().batches.empty());
  CHECK(dispatcher->statistics().request_run == DispatchStatistics::Duration(0));
  CHECK(call(*dispatcher, Random().rows(2, 3)) == "right");
  const auto found = dispatcher->statistics();
  REQUIRE(found.batches.size() == 1);
  CHECK(found.batches.at(2).count == 1);
  CHECK(found.request_run == found.batches.at(2).run);
  DispatchStatistics many;
  for (std::int64_t size = 1; size <= 300; ++size) many.count_batch(size, milliseconds(1), {});
  many.count_batch(1, milliseconds(1), {});
  CHECK(many.batches.at(1).count == 2);
  CHECK(many.batches.at(0).count == 300 - 256);
  CHECK(many.batches.at(0).run == milliseconds(300 - 256));
}

TEST_CASE("close runs what is queued, or cancels it") {
  for (const bool drain : {true, false}) {
    FakeEngine engine;
    engine.is_held = true;
    const auto dispatcher = engine.dispatcher(BatchingOptions{3, hours(1), {3}});
    std::vector<Submitted> requests;
    for (const auto& rows : some_rows(8, 1, 3)) requests.emplace_back(*dispatcher, rows);
    while (!requests[0].request->is_running()) std::this_thread::yield();
    const std::jthread release([&] {
      while (!dispatcher->closed()) std::this_thread::yield();
      engine.is_held = false;
    });
    dispatcher->close(drain);
    for (const auto& request : requests) CHECK(request.request->is_done());
    CHECK(requests[0].answer() == "right");
    CHECK(requests[7].answer() == (drain ? "right" : "cancelled"));
    CHECK(call(*dispatcher, requests[0].rows) == "Error: the engine is closed");
  }
}

TEST_CASE("clients that are all here are not waited for, once that was in vain") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, milliseconds(50), {1, 2, 3, 4}});
  const auto rows = some_rows(2, 1, 3);
  CHECK(call(*dispatcher, rows[0]) == "right");
  CHECK(engine.last_thread != std::this_thread::get_id());  // it waited for others, in vain
  CHECK(call(*dispatcher, rows[0]) == "right");
  CHECK(engine.last_thread == std::this_thread::get_id());  // alone
  CHECK(all_are(call_together(*dispatcher, {rows[0], rows[1]}), "right"));
}

TEST_CASE("a channel has each request once, whoever ends it") {
  FakeEngine engine(2);
  const auto dispatcher = engine.dispatcher(BatchingOptions{4, microseconds(50), {1, 2, 4}});
  const auto channel = std::make_shared<CompletionChannel>();
  std::atomic<int> submitted = 0;
  constexpr int each = 200;
  in_threads(4, [&](auto) {
    Random random;
    for (int i = 0; i < each; ++i) {
      const Ref<OwnRequest> request(new OwnRequest(random.rows(1, 3)));
      request->channel = channel;
      if (i % 3 == 0) request->deadline = Request::Clock::now() + microseconds(random.below(400));
      dispatcher->submit(request, Staging::copy);
      if (i % 5 == 0) dispatcher->cancel(*request);
      ++submitted;
    }
  });
  int taken = 0;
  while (taken < 4 * each && channel->wait_until(Request::Clock::now() + patience)) {
    for (const auto& request : channel->take()) {
      CHECK(request->is_done());
      ++taken;
    }
  }
  CHECK(taken == submitted);
  dispatcher->close(true);
  CHECK(channel->take().empty());
  const auto found = dispatcher->statistics();
  CHECK(found.ok + found.late + found.cancelled == 4 * each);
  CHECK(found.errors == 0);
}

TEST_CASE("a closed channel stays readable, so that whoever watches it hears of that") {
  FakeEngine engine;
  const auto dispatcher = engine.dispatcher(std::nullopt);
  const auto channel = std::make_shared<CompletionChannel>();
  const Ref<OwnRequest> request(new OwnRequest(Random().rows(1, 3)));
  request->channel = channel;
  dispatcher->submit(request, Staging::lend);
  REQUIRE(channel->wait_until(Request::Clock::now() + patience));
  channel->close();
  CHECK(channel->take().size() == 1);
  pollfd watched{channel->descriptor(), POLLIN, 0};
  CHECK(::poll(&watched, 1, 0) == 1);
}

TEST_CASE("what cannot share a run is not accepted") {
  FakeEngine engine;
  const RunTensors tensors{engine.inputs, engine.outputs, nullptr, nullptr};
  const BatchQueue queue(tensors, patient(4));
  class Shapes final : public Request {
   public:
    std::vector<InputArray> arrays;
    std::vector<OutputArray> results = std::vector<OutputArray>(2);
    [[nodiscard]] std::span<const InputArray> inputs() const noexcept override { return arrays; }
    [[nodiscard]] std::span<OutputArray> outputs() noexcept override { return results; }
  };
  const auto accepts = [&](std::vector<InputArray> arrays, Place place = Place::host) {
    const Ref<Shapes> request(new Shapes);
    request->arrays = std::move(arrays);
    request->results[1].place = place;
    return queue.accepts(*request);
  };
  const auto host = [](Dims shape) { return InputArray{nullptr, shape, Place::host}; };
  CHECK(accepts({host({4, 3}), host({4})}));
  CHECK_FALSE(accepts({host({5, 3}), host({5})}));
  CHECK_FALSE(accepts({host({0, 3}), host({0})}));
  CHECK_FALSE(accepts({host({2, 3}), host({1})}));
  CHECK_FALSE(accepts({host({2, 3}), host({})}));
  CHECK_FALSE(accepts({host({}), host({2})}));
  CHECK_FALSE(accepts({host({2, 3}), {nullptr, {2}, Place::device}}));
  CHECK_FALSE(accepts({host({2, 3}), host({2})}, Place::device));
  CHECK_FALSE(accepts({host({2, 3})}));
}

std::string refusal(const std::vector<IoTensor>& inputs, const std::vector<IoTensor>& outputs,
                    const BatchingOptions& options = {4, microseconds(0), {4}}) {
  try {
    check_batching(inputs, outputs, options);
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
