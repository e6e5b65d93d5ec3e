#include "opscore/store/sqlite/backup_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "opscore/base/error.h"
#include "opscore/base/hash.h"
#include "opscore/base/json.h"
#include "opscore/base/sha256.h"

namespace opscore::sqlite {
namespace {

constexpr std::string_view kMagic = "opscore backup 1\n";
constexpr int64_t kPiece = 1 << 20;

std::string folder_of(const std::string& path) {
  return std::filesystem::absolute(path).parent_path().string();
}

Errc code_of(int problem) {
  if (problem == ENOENT) return Errc::not_found;
  bool full = problem == ENOSPC || problem == EDQUOT || problem == EFBIG;
  return full ? Errc::disk_low : Errc::unavailable;
}

[[noreturn]] void refuse(const std::string& doing, const std::string& path, int problem) {
  Errc code = code_of(problem);
  throw Error(code,
              fmt::format("{} '{}': {}; {}", doing, path, std::generic_category().message(problem),
                          code == Errc::disk_low ? "free some space, or choose another disk"
                                                 : "check the path and its permissions"));
}

}  // namespace

OpenFile OpenFile::reading(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) refuse("open", path, errno);
  return OpenFile(path, fd);
}

OpenFile OpenFile::writing(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) refuse("make", path, errno);
  OpenFile file(path, fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    throw Error(Errc::conflict,
                fmt::format("write '{}': another process is writing it; wait for that one", path));
  if (::ftruncate(fd, 0) != 0) file.fail("empty");
  return file;
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

OpenFile::~OpenFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OpenFile::fail(const char* doing) const {
  refuse(doing, path_, errno);
}

int64_t OpenFile::bytes() const {
  struct stat info{};
  if (::fstat(fd_, &info) != 0) fail("look at");
  return info.st_size;
}

std::string OpenFile::read(int64_t offset, size_t bytes) const {
  std::string out(bytes, '\0');
  for (size_t done = 0; done < bytes;) {
    ssize_t got =
        ::pread(fd_, out.data() + done, bytes - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read");
    if (got == 0)
      throw Error(Errc::corrupt, fmt::format("read '{}': it ends at byte {}, {} were expected; it "
                                             "is cut short: use another backup",
                                             path_, offset + static_cast<int64_t>(done),
                                             offset + static_cast<int64_t>(bytes)));
    done += static_cast<size_t>(got);
  }
  return out;
}

void OpenFile::write(int64_t offset, std::string_view bytes) const {
  while (!bytes.empty()) {
    ssize_t wrote = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("write");
    bytes.remove_prefix(static_cast<size_t>(wrote));
    offset += wrote;
  }
}

void OpenFile::sync() const {
  if (::fdatasync(fd_) != 0) fail("write");
}

std::string hash_file(const OpenFile& file, int64_t bytes, const OpenFile* copy,
                      const std::function<void(int64_t)>& progress) {
  Sha256 hash;
  for (int64_t done = 0; done < bytes;) {
    std::string piece = file.read(done, static_cast<size_t>(std::min(kPiece, bytes - done)));
    hash.add(piece);
    if (copy) copy->write(done, piece);
    done += static_cast<int64_t>(piece.size());
    progress(done);
  }
  return to_hex(hash.finish());
}

std::string encode_block(const BackupFacts& facts) {
  Json json{{"version", facts.version},   {"schema", facts.schema},
            {"identity", facts.identity}, {"made_at", to_rfc3339(facts.made_at)},
            {"bytes", facts.bytes},       {"sha256", facts.sha256},
            {"tasks", facts.tasks}};
  std::string block = std::string(kMagic) + json.dump() + "\n";
  OPSCORE_ASSERT(block.size() <= kBackupBlock, "the block of a backup is too small");
  block.resize(kBackupBlock, ' ');
  return block;
}

BackupFacts decode_block(const std::string& path, std::string_view block) {
  if (!block.starts_with(kMagic))
    throw Error(Errc::invalid,
                fmt::format("'{}' is not a backup that `opscore backup` has made, or it is cut "
                            "short. A plain copy of a data file is not checked here; it can be put "
                            "in place by hand (see docs/operations.md)",
                            path));
  try {
    Json json = parse_json(block.substr(kMagic.size()));
    BackupFacts facts;
    facts.version = json.at("version").get<std::string>();
    facts.schema = json.at("schema").get<int64_t>();
    facts.identity = json.at("identity").get<std::string>();
    facts.made_at = parse_rfc3339(json.at("made_at").get<std::string>()).value();
    facts.bytes = json.at("bytes").get<int64_t>();
    facts.sha256 = json.at("sha256").get<std::string>();
    facts.tasks = json.at("tasks").get<std::map<std::string, int64_t>>();
    return facts;
  } catch (const std::exception& error) {
    throw Error(Errc::corrupt, fmt::format("'{}' is damaged: its last block cannot be read ({}); "
                                           "use another backup",
                                           path, error.what()));
  }
}

void check_space(const std::string& path, int64_t bytes) {
  struct statvfs disk{};
  std::string folder = folder_of(path);
  if (::statvfs(folder.c_str(), &disk) != 0) refuse("look at the disk of", folder, errno);
  auto free = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
  if (free < bytes)
    throw Error(Errc::disk_low,
                fmt::format("write '{}': {} bytes are needed and {} are free; free some space, or "
                            "choose another disk",
                            path, bytes, free));
}

void sync_folder_of(const std::string& path) {
  std::string folder = folder_of(path);
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) refuse("open", folder, errno);
  int code = ::fsync(fd);
  int problem = errno;
  ::close(fd);
  if (code != 0) refuse("write", folder, problem);
}

void put_in_place(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    refuse(fmt::format("rename '{}' to", from), to, errno);
  sync_folder_of(to);
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code ignored;  // a file that is missing is no other
  return std::filesystem::equivalent(a, b, ignored);
}

void remove_database(const std::string& path) {
  std::error_code ignored;  // most are not there
  for (const char* suffix : {"", "-wal", "-shm", "-journal"})
    std::filesystem::remove(path + suffix, ignored);
}

}  // namespace opscore::sqlite
