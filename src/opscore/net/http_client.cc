#include "opscore/net/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>

#include "opscore/base/json.h"
#include "opscore/base/mutex.h"

namespace opscore {
namespace {

using Steady = std::chrono::steady_clock;

constexpr size_t kIdleConnections = 16;
constexpr size_t kHeaderBytesMax = 256 << 10;
// How long one poll lasts when nothing happens; stop requests cut it short.
constexpr Duration kPollMax{1000};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  const auto address = IpAddress::parse(host);
  return address && (IpRange::parse("127.0.0.0/8")->contains(*address) ||
                     *address == *IpAddress::parse("::1"));
}

// A curl handle with the connections that it keeps.
class Transfer {
 public:
  Transfer() : multi_(curl_multi_init()), easy_(curl_easy_init()) {
    if (multi_ == nullptr || easy_ == nullptr)
      throw Error(Errc::unavailable, "start an HTTP transfer: out of memory");
  }
  ~Transfer() {
    curl_easy_cleanup(easy_);
    curl_multi_cleanup(multi_);
    curl_slist_free_all(header_list_);
  }
  Transfer(const Transfer&) = delete;

  HttpResponse run(const HttpRequest& request, std::stop_token stop, Deadline deadline);

 private:
  void prepare(const HttpRequest& request);
  void set_headers(const HttpRequest& request);
  void set_guard(const HttpRequest& request);
  void perform(const HttpRequest& request, std::stop_token stop, Deadline deadline);
  void check_limits(const HttpRequest& request, const std::stop_token& stop, Deadline deadline);
  bool deliver(const HttpRequest& request);
  std::optional<CURLcode> finished();
  void refuse_failure(const HttpRequest& request, CURLcode code);
  std::string at(const HttpRequest& request) const {
    return fmt::format("{} {}", request.method, printable_url(request.url));
  }

  static size_t on_body(char* data, size_t, size_t bytes, void* self);
  static size_t on_header(char* data, size_t, size_t bytes, void* self);
  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address);
  static int on_connected(void* self, char* address, char*, int, int);
  bool permits(const std::optional<IpAddress>& address);

  CURLM* multi_;
  CURL* easy_;
  curl_slist* header_list_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> words_{};
  HttpResponse response_;
  std::string arrived_;  // body bytes that curl handed over and deliver() has not seen
  size_t body_bytes_ = 0;
  size_t header_bytes_ = 0;
  Steady::time_point last_byte_;
  const AddressGuard* guard_ = nullptr;
  std::string refused_;  // what the guard said of an address; empty: nothing
  bool opened_ = false;  // the guard permitted another, since the last answer
};

// Why: exceptions must not cross curl's C frames, so its callbacks only store; deliver() and
// check_limits() run between curl's calls, on our own stack.
size_t Transfer::on_body(char* data, size_t, size_t bytes, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.arrived_.append(data, bytes);
  transfer.body_bytes_ += bytes;
  transfer.last_byte_ = Steady::now();
  return bytes;
}

size_t Transfer::on_header(char* data, size_t, size_t bytes, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.last_byte_ = Steady::now();
  transfer.header_bytes_ += bytes;
  if (transfer.header_bytes_ > kHeaderBytesMax) return 0;
  const std::string_view line(data, bytes);
  if (line.starts_with("HTTP/")) {
    transfer.response_.headers.clear();  // of an interim answer such as 100, or of a redirect
    transfer.opened_ = false;
    return bytes;
  }
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos)
    transfer.response_.headers.emplace_back(lower(trimmed(line.substr(0, colon))),
                                            trimmed(line.substr(colon + 1)));
  return bytes;
}

bool Transfer::permits(const std::optional<IpAddress>& address) {
  auto problem = address ? guard_->problem(*address) : "not an IP address";
  if (problem) refused_ = std::move(*problem);
  return !problem;
}

curl_socket_t Transfer::on_socket(void* self, curlsocktype, curl_sockaddr* address) {
  if (!static_cast<Transfer*>(self)->permits(IpAddress::of(address->addr))) return CURL_SOCKET_BAD;
  static_cast<Transfer*>(self)->opened_ = true;
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// A kept connection opens no socket, so the address is looked at here, too.
int Transfer::on_connected(void* self, char* address, char*, int, int) {
  return static_cast<Transfer*>(self)->permits(IpAddress::parse(address)) ? CURL_PREREQFUNC_OK
                                                                          : CURL_PREREQFUNC_ABORT;
}

void Transfer::set_guard(const HttpRequest& request) {
  guard_ = request.guard;
  refused_.clear();
  opened_ = false;
  if (guard_ == nullptr) return;
  if (const auto problem = guard_->url_problem(request.url))
    throw Error(Errc::forbidden, fmt::format("{}: {}", at(request), *problem));
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_socket);
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(easy_, CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  curl_easy_setopt(easy_, CURLOPT_PREREQDATA, this);
  curl_easy_setopt(easy_, CURLOPT_PROXY, "");
}

void Transfer::set_headers(const HttpRequest& request) {
  curl_slist_free_all(header_list_);
  header_list_ = nullptr;
  const auto add = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(header_list_, line.c_str());
    if (longer == nullptr) throw Error(Errc::unavailable, at(request) + ": out of memory");
    header_list_ = longer;
  };
  add("Expect:");  // a round trip for nothing
  for (const auto& [name, value] : request.headers) {
    if (name.empty() || name.find_first_of("\r\n: ") != std::string::npos ||
        value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      throw Error(Errc::invalid, fmt::format("{}: header '{}' has a character that HTTP forbids",
                                             at(request), to_valid_utf8(name)));
    add(value.empty() ? name + ";" : name + ": " + value);
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, header_list_);
}

void Transfer::prepare(const HttpRequest& request) {
  response_ = {};
  arrived_.clear();
  body_bytes_ = header_bytes_ = 0;
  words_[0] = '\0';
  last_byte_ = Steady::now();
  curl_easy_reset(easy_);
  const auto url = parse_http_url(request.url);
  if (!url) throw Error(Errc::invalid, fmt::format("{}: {}", at(request), url.error()));
  curl_easy_setopt(easy_, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  if (request.redirects_max > 0) {
    curl_easy_setopt(easy_, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy_, CURLOPT_MAXREDIRS, static_cast<long>(request.redirects_max));
  }
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);  // a stopped call does not wait for the resolver
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, words_.data());
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, "opscore");
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::max<int64_t>(1, request.connect_timeout.count())));
  if (is_loopback(url->host)) curl_easy_setopt(easy_, CURLOPT_PROXY, "");
  curl_easy_setopt(easy_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  const std::string& method = request.method;
  if (method == "HEAD") curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
  if (!request.body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  if (method != "HEAD") curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, method.c_str());
  set_headers(request);
  set_guard(request);
}

// False when the reader of the body has had enough.
bool Transfer::deliver(const HttpRequest& request) {
  if (body_bytes_ > request.body_bytes_max && request.cut_body) {
    response_.body += std::exchange(arrived_, {});
    response_.body.resize(request.body_bytes_max);
    response_.cut = true;
    return false;
  }
  if (body_bytes_ > request.body_bytes_max)
    throw Error(Errc::too_large, fmt::format("{}: the answer is larger than {} bytes", at(request),
                                             request.body_bytes_max));
  if (arrived_.empty()) return true;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  if (!request.on_body || status < 200 || status > 299) {
    response_.body += std::exchange(arrived_, {});
    return true;
  }
  const bool more = request.on_body(arrived_);
  arrived_.clear();
  return more;
}

void Transfer::check_limits(const HttpRequest& request, const std::stop_token& stop,
                            Deadline deadline) {
  if (stop.stop_requested()) throw Error(Errc::cancelled, at(request) + ": cancelled");
  if (deadline.passed())
    throw Error(Errc::timeout, at(request) + ": no complete answer before the deadline");
  if (request.idle_timeout.count() > 0 && Steady::now() - last_byte_ >= request.idle_timeout)
    throw Error(Errc::timeout, fmt::format("{}: nothing received for {}", at(request),
                                           to_text(request.idle_timeout)));
}

std::optional<CURLcode> Transfer::finished() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left))
    if (message->msg == CURLMSG_DONE) return message->data.result;
  return std::nullopt;
}

void Transfer::perform(const HttpRequest& request, std::stop_token stop, Deadline deadline) {
  const std::stop_callback wake(stop, [this] { curl_multi_wakeup(multi_); });
  for (;;) {
    check_limits(request, stop, deadline);
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(multi_, &running); code != CURLM_OK)
      throw Error(Errc::unavailable, fmt::format("{}: {}", at(request), curl_multi_strerror(code)));
    const auto result = finished();
    if (!deliver(request)) return;
    if (result) {
      if (*result != CURLE_OK) refuse_failure(request, *result);
      return;
    }
    Duration wait = std::min(kPollMax, deadline.left() + Duration(1));
    if (request.idle_timeout.count() > 0) wait = std::min(wait, request.idle_timeout);
    curl_multi_poll(multi_, nullptr, 0, static_cast<int>(wait.count()), nullptr);
  }
}

void Transfer::refuse_failure(const HttpRequest& request, CURLcode code) {
  std::string words = words_[0] != '\0' ? words_.data() : curl_easy_strerror(code);
  words = to_valid_utf8(trimmed(words));
  // Of several addresses of a name, one that is permitted and does not answer may answer later.
  if (!refused_.empty() &&
      (code == CURLE_ABORTED_BY_CALLBACK || (code == CURLE_COULDNT_CONNECT && !opened_)))
    throw Error(Errc::forbidden, fmt::format("{}: {}", at(request), refused_));
  long os_error = 0;
  curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &os_error);
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      if (os_error != 0)
        words += fmt::format(" ({})", std::generic_category().message(static_cast<int>(os_error)));
      throw Error(Errc::unavailable, fmt::format("{}: {}", at(request), words));
    case CURLE_OPERATION_TIMEDOUT:
      throw Error(Errc::timeout, fmt::format("{}: {}", at(request), words));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      throw Error(Errc::unavailable, fmt::format("{}: {}", at(request), words), false);
    case CURLE_URL_MALFORMAT:
      throw Error(Errc::invalid, fmt::format("{}: {}", at(request), words));
    case CURLE_TOO_MANY_REDIRECTS:
      throw Error(Errc::unavailable,
                  fmt::format("{}: more than {} redirects", at(request), request.redirects_max),
                  false);
    case CURLE_UNSUPPORTED_PROTOCOL:  // of the answer: the URL's was looked at before
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      throw Error(Errc::malformed, fmt::format("{}: {}", at(request), words));
    case CURLE_WRITE_ERROR:
      throw Error(Errc::too_large, fmt::format("{}: the headers of the answer are larger than {} "
                                               "bytes",
                                               at(request), kHeaderBytesMax));
    default:  // cut off, reset, DNS: another try may do better
      throw Error(Errc::unavailable, fmt::format("{}: {}", at(request), words));
  }
}

HttpResponse Transfer::run(const HttpRequest& request, std::stop_token stop, Deadline deadline) {
  prepare(request);
  curl_multi_add_handle(multi_, easy_);
  struct Removal {
    Transfer& transfer;
    ~Removal() { curl_multi_remove_handle(transfer.multi_, transfer.easy_); }
  } removal{*this};
  perform(request, std::move(stop), deadline);
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  response_.status = static_cast<int>(status);
  return std::move(response_);
}

}  // namespace

std::optional<std::string> HttpResponse::header(std::string_view name) const {
  const std::string wanted = lower(name);
  for (const auto& [key, value] : headers)
    if (key == wanted) return value;
  return std::nullopt;
}

struct HttpClient::Pool {
  // Why: initialisation is counted by libcurl and thread-safe since 7.84, so each client pairs its
  // own with a cleanup and nobody needs a process-wide object.
  Pool() {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
      throw Error(Errc::unavailable, "start the HTTP client: libcurl does not initialise");
  }
  ~Pool() {
    idle.clear();
    curl_global_cleanup();
  }

  std::unique_ptr<Transfer> take() {
    {
      MutexLock lock(mutex);
      if (!idle.empty()) {
        auto transfer = std::move(idle.back());
        idle.pop_back();
        return transfer;
      }
    }
    return std::make_unique<Transfer>();
  }

  void give_back(std::unique_ptr<Transfer> transfer) {
    MutexLock lock(mutex);
    if (idle.size() < kIdleConnections) idle.push_back(std::move(transfer));
  }

  Mutex mutex;
  std::vector<std::unique_ptr<Transfer>> idle OPSCORE_GUARDED_BY(mutex);
};

HttpClient::HttpClient() : pool_(std::make_unique<Pool>()) {}
HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request, std::stop_token stop, Deadline deadline) {
  auto transfer = pool_->take();
  HttpResponse response = transfer->run(request, std::move(stop), deadline);
  pool_->give_back(std::move(transfer));  // after a failure it is dropped, connection and all
  return response;
}

}  // namespace opscore
