#include <fmt/format.h>

#include <algorithm>

#include "opscore/app/config_value.h"

namespace opscore {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class DotenvReader {
 public:
  DotenvReader(std::string_view text, const std::string& file, std::vector<std::string>& problems)
      : text_(text), file_(file), problems_(problems) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  }

  std::vector<DotenvEntry> read() {
    std::vector<DotenvEntry> entries;
    while (at_ < text_.size()) {
      skip_blanks();
      if (at_ < text_.size() && text_[at_] != '#' && text_[at_] != '\n') read_entry(entries);
      skip_line();
    }
    return entries;
  }

 private:
  void read_entry(std::vector<DotenvEntry>& entries) {
    DotenvEntry entry;
    entry.line = line_;
    entry.name = name();
    if (entry.name == "export" && at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) {
      skip_blanks();
      entry.name = name();
    }
    skip_blanks();
    if (entry.name.empty() || at_ == text_.size() || text_[at_] != '=') {
      fail(entry.line, "expected NAME=value");
      return;
    }
    ++at_;
    skip_blanks();
    if (read_value(entry)) entries.push_back(std::move(entry));
  }

  bool read_value(DotenvEntry& entry) {
    if (at_ == text_.size()) return true;
    char first = text_[at_];
    if (first != '"' && first != '\'') {
      entry.value = bare_value();
      entry.has_reference = entry.value.find("${") != std::string::npos;
      return true;
    }
    if (!quoted_value(entry)) {
      fail(entry.line, fmt::format("{}: the quote {} is never closed", entry.name, first));
      return false;
    }
    skip_blanks();
    if (at_ < text_.size() && text_[at_] != '#' && text_[at_] != '\n') {
      fail(line_, fmt::format("{}: unexpected text after the closing quote", entry.name));
      return false;
    }
    return true;
  }

  bool quoted_value(DotenvEntry& entry) {
    char quote = text_[at_++];
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == quote) {
        ++at_;
        return true;
      }
      if (c == '\n') ++line_;
      if (quote == '"' && c == '\\' && at_ + 1 < text_.size()) {
        append_escape(entry.value, text_[++at_]);
        continue;
      }
      if (quote == '"' && text_.substr(at_, 2) == "${") entry.has_reference = true;
      entry.value += c;
    }
    return false;
  }

  void append_escape(std::string& out, char c) {
    switch (c) {
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case '\n':
        ++line_;
        return;  // a continued line
      case '"':
      case '\'':
      case '\\':
      case '$':
        out += c;
        return;
      default:
        out += '\\';
        out += c;  // as dotenv files elsewhere: kept
    }
  }

  std::string bare_value() {
    size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view value = text_.substr(at_, end - at_);
    for (size_t i = 0; i < value.size(); ++i)
      if (value[i] == '#' && (i == 0 || value[i - 1] == ' ' || value[i - 1] == '\t')) {
        value = value.substr(0, i);
        break;
      }
    size_t last = value.find_last_not_of(" \t\r");
    at_ = end;
    return std::string(last == std::string_view::npos ? "" : value.substr(0, last + 1));
  }

  std::string name() {
    size_t start = at_;
    while (at_ < text_.size() && is_name_char(text_[at_])) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  void skip_line() {
    size_t end = text_.find('\n', at_);
    at_ = end == std::string_view::npos ? text_.size() : end + 1;
    ++line_;
  }
  void fail(int line, std::string_view what) {
    problems_.push_back(fmt::format("{}:{}: {}", file_, line, what));
  }

  std::string_view text_;
  const std::string& file_;
  std::vector<std::string>& problems_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<DotenvEntry> parse_dotenv(const std::string& text, const std::string& file,
                                      std::vector<std::string>& problems) {
  return DotenvReader(text, file, problems).read();
}

}  // namespace opscore
