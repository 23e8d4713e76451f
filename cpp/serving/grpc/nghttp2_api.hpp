// nghttp2, which speaks HTTP/2, bound at run time: the few types, constants and functions that are
// used, declared here so that building needs no header. nghttp2_check.cpp compares every line with
// nghttp2's own header where there is one.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

// The library's own tag names.
struct nghttp2_session;
struct nghttp2_session_callbacks;
struct nghttp2_option;

namespace fasttrt::serving::grpc {

// A header as it is sent; the strings may change afterwards.
struct NameValue {
  const std::uint8_t* name;
  const std::uint8_t* value;
  std::size_t name_size;
  std::size_t value_size;
  std::uint8_t flags;
};

// How any frame begins.
struct FrameHeader {
  std::size_t length;
  std::int32_t stream_id;
  std::uint8_t type;
  std::uint8_t flags;
  std::uint8_t reserved;
};

struct SettingsEntry {
  std::int32_t id;
  std::uint32_t value;
};

union DataSource {
  int descriptor;
  void* pointer;
};

using ReadData = ssize_t (*)(nghttp2_session* session, std::int32_t stream_id, std::uint8_t* buffer,
                             std::size_t length, std::uint32_t* flags, DataSource* source,
                             void* user_data);

struct DataProvider {
  DataSource source;
  ReadData read;
};

struct VersionInfo {
  int age;
  int number;  // 0xMMmmpp
  const char* text;
  const char* protocol;
};

using OnFrame = int (*)(nghttp2_session* session, const FrameHeader* frame, void* user_data);
using OnHeader = int (*)(nghttp2_session* session, const FrameHeader* frame,
                         const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                         std::size_t value_size, std::uint8_t flags, void* user_data);
using OnData = int (*)(nghttp2_session* session, std::uint8_t flags, std::int32_t stream_id,
                       const std::uint8_t* data, std::size_t size, void* user_data);
using OnStreamClose = int (*)(nghttp2_session* session, std::int32_t stream_id,
                              std::uint32_t error_code, void* user_data);
using SendData = int (*)(nghttp2_session* session, FrameHeader* frame, const std::uint8_t* head,
                         std::size_t length, DataSource* source, void* user_data);
using ReadLength = ssize_t (*)(nghttp2_session* session, std::uint8_t frame_type,
                               std::int32_t stream_id, std::int32_t session_window,
                               std::int32_t stream_window, std::uint32_t max_frame_size,
                               void* user_data);

inline constexpr int err_wouldblock = -504;
inline constexpr int err_deferred = -508;
inline constexpr int err_temporal_callback_failure = -521;
inline constexpr int err_callback_failure = -902;
inline constexpr std::uint32_t data_flag_eof = 1;
inline constexpr std::uint32_t data_flag_no_end_stream = 2;
inline constexpr std::uint32_t data_flag_no_copy = 4;
inline constexpr std::uint8_t flag_none = 0;
inline constexpr std::uint8_t flag_end_stream = 1;
inline constexpr std::uint8_t flag_ack = 1;
inline constexpr std::uint8_t frame_data = 0;
inline constexpr std::uint8_t frame_headers = 1;
inline constexpr std::uint8_t frame_ping = 6;
inline constexpr std::int32_t settings_max_concurrent_streams = 3;
inline constexpr std::int32_t settings_initial_window_size = 4;
inline constexpr std::int32_t settings_max_frame_size = 5;
inline constexpr std::int32_t settings_max_header_list_size = 6;
inline constexpr std::uint32_t error_none = 0;
inline constexpr std::uint32_t error_cancel = 8;
inline constexpr std::uint32_t error_enhance_your_calm = 11;

// Every function: field, symbol without its prefix, result, parameters. One list, so that the
// table, the code that fills it and the check against the header cannot differ. Oldest release with
// all of them: 1.40.
// clang-format off
#define FASTTRT_NGHTTP2_FUNCTIONS(X)                                                              \
  X(version, version, VersionInfo*, (int least))                                                  \
  X(strerror, strerror, const char*, (int code))                                                  \
  X(callbacks_new, session_callbacks_new, int, (nghttp2_session_callbacks** callbacks))           \
  X(callbacks_del, session_callbacks_del, void, (nghttp2_session_callbacks* callbacks))           \
  X(set_on_begin_headers, session_callbacks_set_on_begin_headers_callback, void,                  \
    (nghttp2_session_callbacks* callbacks, OnFrame function))                                     \
  X(set_on_header, session_callbacks_set_on_header_callback, void,                                \
    (nghttp2_session_callbacks* callbacks, OnHeader function))                                    \
  X(set_on_frame_recv, session_callbacks_set_on_frame_recv_callback, void,                        \
    (nghttp2_session_callbacks* callbacks, OnFrame function))                                     \
  X(set_on_data_chunk_recv, session_callbacks_set_on_data_chunk_recv_callback, void,              \
    (nghttp2_session_callbacks* callbacks, OnData function))                                      \
  X(set_on_stream_close, session_callbacks_set_on_stream_close_callback, void,                    \
    (nghttp2_session_callbacks* callbacks, OnStreamClose function))                               \
  X(set_send_data, session_callbacks_set_send_data_callback, void,                                \
    (nghttp2_session_callbacks* callbacks, SendData function))                                    \
  X(set_read_length, session_callbacks_set_data_source_read_length_callback, void,                \
    (nghttp2_session_callbacks* callbacks, ReadLength function))                                  \
  X(option_new, option_new, int, (nghttp2_option** option))                                       \
  X(option_del, option_del, void, (nghttp2_option* option))                                       \
  X(option_no_auto_window_update, option_set_no_auto_window_update, void,                         \
    (nghttp2_option* option, int value))                                                          \
  X(server_new, session_server_new2, int,                                                         \
    (nghttp2_session** session, const nghttp2_session_callbacks* callbacks, void* user_data,      \
     const nghttp2_option* option))                                                               \
  X(session_del, session_del, void, (nghttp2_session* session))                                   \
  X(mem_recv, session_mem_recv, ssize_t,                                                          \
    (nghttp2_session* session, const std::uint8_t* bytes, std::size_t size))                      \
  X(mem_send, session_mem_send, ssize_t,                                                          \
    (nghttp2_session* session, const std::uint8_t** bytes))                                       \
  X(want_read, session_want_read, int, (nghttp2_session* session))                                \
  X(want_write, session_want_write, int, (nghttp2_session* session))                              \
  X(consume_connection, session_consume_connection, int,                                          \
    (nghttp2_session* session, std::size_t size))                                                 \
  X(consume_stream, session_consume_stream, int,                                                  \
    (nghttp2_session* session, std::int32_t stream_id, std::size_t size))                         \
  X(set_local_window_size, session_set_local_window_size, int,                                    \
    (nghttp2_session* session, std::uint8_t flags, std::int32_t stream_id, std::int32_t size))    \
  X(last_stream_id, session_get_last_proc_stream_id, std::int32_t, (nghttp2_session* session))    \
  X(submit_settings, submit_settings, int,                                                        \
    (nghttp2_session* session, std::uint8_t flags, const SettingsEntry* entries,                  \
     std::size_t count))                                                                          \
  X(submit_response, submit_response, int,                                                        \
    (nghttp2_session* session, std::int32_t stream_id, const NameValue* headers,                  \
     std::size_t count, const DataProvider* provider))                                            \
  X(submit_trailer, submit_trailer, int,                                                          \
    (nghttp2_session* session, std::int32_t stream_id, const NameValue* headers,                  \
     std::size_t count))                                                                          \
  X(resume_data, session_resume_data, int, (nghttp2_session* session, std::int32_t stream_id))    \
  X(submit_rst_stream, submit_rst_stream, int,                                                    \
    (nghttp2_session* session, std::uint8_t flags, std::int32_t stream_id,                        \
     std::uint32_t error_code))                                                                   \
  X(submit_ping, submit_ping, int,                                                                \
    (nghttp2_session* session, std::uint8_t flags, const std::uint8_t* opaque))                   \
  X(submit_shutdown_notice, submit_shutdown_notice, int, (nghttp2_session* session))              \
  X(submit_goaway, submit_goaway, int,                                                            \
    (nghttp2_session* session, std::uint8_t flags, std::int32_t last_stream_id,                   \
     std::uint32_t error_code, const std::uint8_t* opaque, std::size_t opaque_size))
// clang-format on

struct Nghttp2Api {
// NOLINTNEXTLINE(bugprone-macro-parentheses): it is a declaration
#define FASTTRT_NGHTTP2_FIELD(field, symbol, result, parameters) result(*field) parameters;
  FASTTRT_NGHTTP2_FUNCTIONS(FASTTRT_NGHTTP2_FIELD)
#undef FASTTRT_NGHTTP2_FIELD
};

// Loads the library the first time. Throws LibraryNotFoundError that says how to install it, and
// UnsupportedLibraryError for one that lacks a function.
[[nodiscard]] const Nghttp2Api& nghttp2();

}  // namespace fasttrt::serving::grpc
