#include "checkpoint/hugging_face_files.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/mapped_file.h"
#include "checkpoint/tiktoken_files.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/tokenizer.h"

namespace llamlx {
namespace {

constexpr const char* kModel = "tokenizer.model";

const SideFile* find(const std::vector<SideFile>& files,
                     std::string_view name) {
  const auto found = std::ranges::find(files, name, &SideFile::name);
  return found != files.end() ? &*found : nullptr;
}

std::unique_ptr<Tokenizer> load_model(const std::filesystem::path& path,
                                      const MappedFile& file) {
  return Tokenizer::load(
      {path.parent_path(), {{kModel, std::string(file.text())}}});
}

SideFile make_sentencepiece_config(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto model = read_sentencepiece_model(file.text(), path.string());
  const auto tokenizer = load_model(path, file);
  OrderedJson config = {{"tokenizer_class", "LlamaTokenizer"},
                        {"add_bos_token", true},
                        {"add_eos_token", false},
                        {"clean_up_tokenization_spaces", false},
                        {"legacy", false}};
  const auto name = [&](const char* key, std::optional<std::int32_t> id) {
    if (!id) return;
    config[key] = model.pieces.at(static_cast<std::size_t>(*id)).text;
  };
  name("bos_token", tokenizer->bos_id());
  name("eos_token", tokenizer->eos_id());
  const auto unknown =
      std::ranges::find(model.pieces, SentencePieceModel::Type::unknown,
                        &SentencePieceModel::Piece::type);
  if (unknown != model.pieces.end()) config["unk_token"] = unknown->text;
  return {"tokenizer_config.json", {}, config.dump(2) + "\n"};
}

}  // namespace

std::vector<SideFile> make_hugging_face_files(
    const std::vector<SideFile>& files, const Json& config) {
  const auto* model = find(files, kModel);
  if (model == nullptr || find(files, "tokenizer.json") != nullptr) return {};
  auto made = make_tiktoken_files(model->source, config);
  if (made.empty()) made.push_back(make_sentencepiece_config(model->source));
  std::erase_if(made, [&](const SideFile& file) {
    return find(files, file.name) != nullptr;
  });
  return made;
}

std::optional<SideFile> make_generation_config(
    const std::vector<SideFile>& files, const Json& config) {
  constexpr const char* kName = "generation_config.json";
  const auto eos = config.find("eos_token_id");
  if (eos == config.end() || eos->is_null()) return {};
  if (find(files, kName) != nullptr) return {};
  const auto* model = find(files, kModel);
  if (model != nullptr && !model->source.empty()) {
    const auto tokenizer = load_model(model->source, MappedFile(model->source));
    if (tokenizer->eos_id() && Json(*tokenizer->eos_id()) == *eos) return {};
  }
  OrderedJson told;
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    const auto id = config.find(key);
    if (id != config.end() && !id->is_null()) told[key] = *id;
  }
  return SideFile{kName, {}, told.dump(2) + "\n"};
}

}  // namespace llamlx
