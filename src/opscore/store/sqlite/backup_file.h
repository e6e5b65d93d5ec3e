#pragma once
// The file side of backups: the block at the end, copies that are hashed on the way, space, and
// names that appear at once. Internal to store/sqlite.

#include <functional>
#include <string>

#include "opscore/store/sqlite/backup.h"

namespace opscore::sqlite {

inline constexpr int64_t kBackupBlock = 4096;

// An open file, closed at the end; throws Error that says what was attempted on it.
class OpenFile {
 public:
  // Throws not_found when it is missing.
  static OpenFile reading(const std::string& path);
  // Made anew; only its owner may read it. Throws conflict while another process has it as this.
  static OpenFile writing(const std::string& path);
  OpenFile(OpenFile&& other) noexcept;
  ~OpenFile();

  int64_t bytes() const;
  std::string read(int64_t offset, size_t bytes) const;
  void write(int64_t offset, std::string_view bytes) const;
  void sync() const;
  const std::string& path() const { return path_; }
  [[noreturn]] void fail(const char* doing) const;

 private:
  OpenFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

// SHA-256, hex, of the first `bytes` of a file, which are also copied when there is a target.
std::string hash_file(const OpenFile& file, int64_t bytes, const OpenFile* copy,
                      const std::function<void(int64_t done)>& progress);

std::string encode_block(const BackupFacts& facts);
// Throws Error{corrupt} for a block that is damaged.
BackupFacts decode_block(const std::string& path, std::string_view block);

// Throws Error{disk_low} when a file of so many bytes would not fit beside `path`.
void check_space(const std::string& path, int64_t bytes);
void sync_folder_of(const std::string& path);
// Renames, and returns when that is on disk.
void put_in_place(const std::string& from, const std::string& to);
bool same_file(const std::string& a, const std::string& b);
void remove_database(const std::string& path);  // with what SQLite keeps beside it

}  // namespace opscore::sqlite
