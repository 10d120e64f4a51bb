#include "tokenizer/tokenizer_json_file.h"

#include <cstdint>
#include <utility>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr const char* kRemedy = "correct the file or download it again";

// Takes the file event by event and builds `root`, but for the tables.
class Reader : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(TokenizerJsonFile& file) : file_(file) {}

  const std::string& error() const { return error_; }

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return value(v); }
  bool number_unsigned(number_unsigned_t v) override {
    return table_ == Table::vocab ? token(v) : value(v);
  }
  bool number_float(number_float_t v, const string_t&) override {
    return value(v);
  }
  bool string(string_t& v) override {
    return table_ == Table::merges ? merge_part(v) : value(std::move(v));
  }
  bool binary(binary_t&) override { return fail("holds binary data"); }

  bool start_object(std::size_t) override { return start(Json::object()); }
  bool start_array(std::size_t) override { return start(Json::array()); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }

  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return fail(concat("is not valid JSON near byte ", position));
  }

 private:
  enum class Table { none, vocab, merges, skipped };

  bool fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  template <typename T>
  bool value(T&& v) {
    switch (table_) {
      case Table::none:
        place(Json(std::forward<T>(v)));
        return true;
      case Table::vocab:
        return fail(concat("model.vocab: the id of ", key_,
                           " should be a whole number"));
      case Table::merges:
        return fail("model.merges should hold pairs of tokens");
      case Table::skipped:
        return true;
    }
    return false;
  }

  Json& place(Json v) {
    if (open_.empty()) return file_.root = std::move(v);
    Json& parent = *open_.back();
    if (parent.is_object()) return parent[key_] = std::move(v);
    parent.push_back(std::move(v));
    return parent.back();
  }

  Table table_here(const Json& v) const {
    if (open_.size() != 2 || open_names_[1] != "model") return Table::none;
    // Models other than BPE list their tokens, with what else they need.
    if (key_ == "vocab") return v.is_object() ? Table::vocab : Table::skipped;
    if (key_ == "merges") return v.is_array() ? Table::merges : Table::none;
    return Table::none;
  }

  bool start(Json v) {
    if (open_.size() + table_depth_ >= kMaxDepth) {
      return fail("nests deeper than any tokenizer");
    }
    if (table_ != Table::none) return start_in_table(v.is_array());
    const Table table = table_here(v);
    if (table != Table::none) {
      table_ = table;
      table_depth_ = 1;
      (table == Table::merges ? file_.has_merges : file_.has_vocabulary) =
          table != Table::skipped;
      place(nullptr);
      return true;
    }
    open_names_.push_back(open_.empty() ? "" : key_);
    open_.push_back(&place(std::move(v)));
    return true;
  }

  bool start_in_table(bool array) {
    if (table_ == Table::vocab) {
      return fail(
          concat("model.vocab: the id of ", key_, " should be a whole number"));
    }
    if (table_ == Table::merges && (!array || table_depth_ != 1)) {
      return fail("model.merges should hold pairs of tokens");
    }
    ++table_depth_;
    pair_.clear();
    return true;
  }

  bool end() {
    if (table_ == Table::none) {
      open_.pop_back();
      open_names_.pop_back();
      return true;
    }
    if (table_ == Table::merges && table_depth_ == 2) {
      if (pair_.size() != 2) {
        return fail("model.merges should hold pairs of tokens");
      }
      file_.merges.add(pair_[0], pair_[1]);
    }
    if (--table_depth_ == 0) table_ = Table::none;
    return true;
  }

  bool token(std::uint64_t id) {
    if (id >= static_cast<std::uint64_t>(Vocabulary::kIdLimit)) {
      return fail(
          concat("model.vocab: the id ", id, " of ", key_, " is too large"));
    }
    const auto index = static_cast<std::int32_t>(id);
    switch (file_.vocabulary.add(key_, index)) {
      case Vocabulary::Added::yes:
        return true;
      case Vocabulary::Added::token_known:
        return fail(concat("model.vocab holds ", key_, " twice"));
      case Vocabulary::Added::id_taken:
        break;
    }
    return fail(concat("model.vocab gives the id ", id, " to both ",
                       file_.vocabulary.token(index), " and ", key_));
  }

  bool merge_part(const std::string& text) {
    if (table_depth_ == 2) {
      if (pair_.size() == 2) {
        return fail("model.merges should hold pairs of tokens");
      }
      pair_.push_back(text);
      return true;
    }
    // The older form: both tokens in one string. As in merges.txt, a line may
    // give the version.
    if (text.starts_with("#version")) return true;
    const std::size_t space = text.find(' ');
    if (space == std::string::npos ||
        text.find(' ', space + 1) != std::string::npos) {
      return fail(concat("model.merges: \"", text, "\" is not two tokens"));
    }
    const std::string_view view = text;
    file_.merges.add(view.substr(0, space), view.substr(space + 1));
    return true;
  }

  TokenizerJsonFile& file_;
  std::vector<Json*> open_;  // objects and arrays being filled
  std::vector<std::string> open_names_;
  std::string key_;
  Table table_ = Table::none;
  std::size_t table_depth_ = 0;
  std::vector<std::string> pair_;
  std::string error_;
};

}  // namespace

void MergeList::add(std::string_view left, std::string_view right) {
  const std::size_t begin = text_.size();
  text_ += left;
  text_ += right;
  spans_.push_back({begin, begin + left.size(), text_.size()});
}

std::string_view MergeList::left(std::size_t index) const {
  const Span& span = spans_[index];
  return std::string_view(text_).substr(span.left, span.right - span.left);
}

std::string_view MergeList::right(std::size_t index) const {
  const Span& span = spans_[index];
  return std::string_view(text_).substr(span.right, span.end - span.right);
}

std::string_view MergeList::joined(std::size_t index) const {
  const Span& span = spans_[index];
  return std::string_view(text_).substr(span.left, span.end - span.left);
}

TokenizerJsonFile read_tokenizer_json(std::string_view text,
                                      std::string_view subject) {
  TokenizerJsonFile file;
  Reader reader(file);
  if (!Json::sax_parse(text, &reader)) {
    fail(ErrorCode::corrupt_file, subject, reader.error(), kRemedy);
  }
  if (!file.root.is_object()) {
    fail(ErrorCode::corrupt_file, subject,
         concat("expected a JSON object, got ", file.root.type_name()),
         kRemedy);
  }
  return file;
}

}  // namespace llamlx
