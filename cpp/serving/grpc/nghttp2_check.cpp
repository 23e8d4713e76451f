// Compares nghttp2_api.hpp with nghttp2's own header. Compiling it is the whole check; it is built
// with the tests where that header is found.
#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <type_traits>

#include "serving/grpc/nghttp2_api.hpp"

namespace fasttrt::serving::grpc {
namespace {

// Passed the same way: the same type, a structure of ours for theirs, a function of such, a pointer
// to what is the same.
template <class Ours, class Theirs>
struct SameAbi : std::is_same<Ours, Theirs> {};

template <>
struct SameAbi<NameValue, nghttp2_nv> : std::true_type {};
template <>
struct SameAbi<FrameHeader, nghttp2_frame> : std::true_type {};
template <>
struct SameAbi<SettingsEntry, nghttp2_settings_entry> : std::true_type {};
template <>
struct SameAbi<DataSource, nghttp2_data_source> : std::true_type {};
template <>
struct SameAbi<DataProvider, nghttp2_data_provider> : std::true_type {};
template <>
struct SameAbi<VersionInfo, nghttp2_info> : std::true_type {};

template <class Ours, class Theirs>
struct SameAbi<Ours*, Theirs*> : SameAbi<std::remove_const_t<Ours>, std::remove_const_t<Theirs>> {};

template <class Ours, class... OurArgs, class Theirs, class... TheirArgs>
  requires(sizeof...(OurArgs) == sizeof...(TheirArgs))
struct SameAbi<Ours(OurArgs...), Theirs(TheirArgs...)>
    : std::conjunction<SameAbi<Ours, Theirs>, SameAbi<OurArgs, TheirArgs>...> {};

#define FASTTRT_NGHTTP2_CHECK(field, symbol, result, parameters)                            \
  static_assert(SameAbi<decltype(Nghttp2Api::field), decltype(&::nghttp2_##symbol)>::value, \
                "nghttp2_" #symbol);
FASTTRT_NGHTTP2_FUNCTIONS(FASTTRT_NGHTTP2_CHECK)
#undef FASTTRT_NGHTTP2_CHECK

#define FASTTRT_SAME_MEMBER(ours, member, theirs, their_member)             \
  static_assert(offsetof(ours, member) == offsetof(theirs, their_member) && \
                sizeof(ours::member) == sizeof(theirs::their_member))

static_assert(sizeof(NameValue) == sizeof(nghttp2_nv));
FASTTRT_SAME_MEMBER(NameValue, name, nghttp2_nv, name);
FASTTRT_SAME_MEMBER(NameValue, value, nghttp2_nv, value);
FASTTRT_SAME_MEMBER(NameValue, name_size, nghttp2_nv, namelen);
FASTTRT_SAME_MEMBER(NameValue, value_size, nghttp2_nv, valuelen);
FASTTRT_SAME_MEMBER(NameValue, flags, nghttp2_nv, flags);
static_assert(offsetof(nghttp2_frame, hd) == 0 && sizeof(FrameHeader) == sizeof(nghttp2_frame_hd));
FASTTRT_SAME_MEMBER(FrameHeader, length, nghttp2_frame_hd, length);
FASTTRT_SAME_MEMBER(FrameHeader, stream_id, nghttp2_frame_hd, stream_id);
FASTTRT_SAME_MEMBER(FrameHeader, type, nghttp2_frame_hd, type);
FASTTRT_SAME_MEMBER(FrameHeader, flags, nghttp2_frame_hd, flags);
static_assert(sizeof(SettingsEntry) == sizeof(nghttp2_settings_entry));
FASTTRT_SAME_MEMBER(SettingsEntry, id, nghttp2_settings_entry, settings_id);
FASTTRT_SAME_MEMBER(SettingsEntry, value, nghttp2_settings_entry, value);
static_assert(sizeof(DataSource) == sizeof(nghttp2_data_source));
static_assert(sizeof(DataProvider) == sizeof(nghttp2_data_provider));
FASTTRT_SAME_MEMBER(DataProvider, read, nghttp2_data_provider, read_callback);
static_assert(sizeof(VersionInfo) == sizeof(nghttp2_info));
FASTTRT_SAME_MEMBER(VersionInfo, number, nghttp2_info, version_num);

static_assert(err_wouldblock == NGHTTP2_ERR_WOULDBLOCK);
static_assert(err_deferred == NGHTTP2_ERR_DEFERRED);
static_assert(err_temporal_callback_failure == NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
static_assert(err_callback_failure == NGHTTP2_ERR_CALLBACK_FAILURE);
static_assert(data_flag_eof == NGHTTP2_DATA_FLAG_EOF);
static_assert(data_flag_no_end_stream == NGHTTP2_DATA_FLAG_NO_END_STREAM);
static_assert(data_flag_no_copy == NGHTTP2_DATA_FLAG_NO_COPY);
static_assert(flag_none == NGHTTP2_FLAG_NONE);
static_assert(flag_end_stream == NGHTTP2_FLAG_END_STREAM);
static_assert(flag_ack == NGHTTP2_FLAG_ACK);
static_assert(frame_data == NGHTTP2_DATA);
static_assert(frame_headers == NGHTTP2_HEADERS);
static_assert(frame_ping == NGHTTP2_PING);
static_assert(settings_max_concurrent_streams == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
static_assert(settings_initial_window_size == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
static_assert(settings_max_frame_size == NGHTTP2_SETTINGS_MAX_FRAME_SIZE);
static_assert(settings_max_header_list_size == NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE);
static_assert(error_none == NGHTTP2_NO_ERROR);
static_assert(error_cancel == NGHTTP2_CANCEL);
static_assert(error_enhance_your_calm == NGHTTP2_ENHANCE_YOUR_CALM);

}  // namespace
}  // namespace fasttrt::serving::grpc
