#include "serving/exchange_record.hpp"

namespace fasttrt::serving {
namespace {

constexpr int client_has_gone = 499;  // a status that no server sends
constexpr std::size_t max_id_bytes = 256;

// As much of a text as a line should have, without the half of a character.
std::string_view shortened(std::string_view text) noexcept {
  if (text.size() <= max_id_bytes) return text;
  auto size = max_id_bytes;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  return text.substr(0, size);
}

}  // namespace

ExchangeRecord::ExchangeRecord(AccessLog& log, const RequestHead& head, std::string_view client,
                               Clock::time_point begun_at, std::size_t bytes)
    : log_(log),
      begun_at_(begun_at),
      client_(client),
      method_(head.method),
      path_(head.target.substr(0, head.target.find('?'))),  // a query may have secrets
      bytes_in_(bytes) {}

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): as in a target
void ExchangeRecord::set_subject(std::string_view model, std::string_view version,
                                 std::string_view id) {
  model_ = shortened(model);
  version_ = version;
  id_ = shortened(id);
}

void ExchangeRecord::abandon() const noexcept { write(client_has_gone, 0); }

// NOLINTNEXTLINE(bugprone-easily-swappable-parameters): named by its callers
void ExchangeRecord::write(int status, std::size_t bytes_out) const noexcept {
  using std::chrono::microseconds;
  const auto taken = Clock::now() - begun_at_;
  const auto duration = std::chrono::duration_cast<microseconds>(taken);
  log_.write({std::chrono::system_clock::now() - duration, client_, method_, path_, model_,
              version_, status, bytes_in_, bytes_out, duration, id_});
}

}  // namespace fasttrt::serving
