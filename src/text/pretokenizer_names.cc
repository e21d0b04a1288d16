#include "text/pretokenizer_names.h"

#include "text/pretokenizer.h"

namespace lowkey {
namespace {

using Splits = std::vector<std::string_view>;

constexpr std::string_view kDigit = "\\p{N}", kDigits = "\\p{N}+", kThreeDigits = "\\p{N}{1,3}", kNewline = "[\\r\\n]",
                           kCjk = "[一-龥ࠀ-一가-퟿]+", kCjkAndKana = "[一-龥぀-ゟ゠-ヿ]+";

constexpr std::string_view kDeepseek3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+"
    "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kTekken =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?"
    "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kGpt4o =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|"
    "'d)?"
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kQwen35 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kSeedCoder =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
constexpr std::string_view kBailing =
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
constexpr std::string_view kBloom = " ?[^(\\s|.,!?…。，、।۔،)]+";

std::vector<NamedPretokenizer> make_names() {
  using P = Pretokenizer;
  const std::string_view gpt2 = pretokenizer_regex(P::kGpt2);
  const Splits starcoder = {kDigit, gpt2};
  // The letters of DeepSeek's first models are those that have a case.
  const Splits deepseek_llm = {
      kNewline, "\\s?[\\p{Lu}\\p{Ll}\\p{Lt}]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", kCjk, kDigits};
  const Splits deepseek_coder = {kNewline, "\\s?\\p{L}+", "\\s?\\p{P}+", kCjk, kDigit};
  const Splits deepseek3 = {kThreeDigits, kCjkAndKana, kDeepseek3};
  const Splits falcon = {"\\p{Punctuation}+", gpt2, "[0-9][0-9][0-9]"};

  std::vector<NamedPretokenizer> names;
  const auto add = [&](const NamedPretokenizer& like, std::initializer_list<std::string_view> all) {
    for (std::string_view name : all) {
      names.push_back(like);
      names.back().name = name;
    }
  };
  const auto splits = [](Splits s) { return NamedPretokenizer{.kind = P::kSplits, .splits = std::move(s)}; };
  add({.kind = P::kGpt2},
      {"gpt-2",       "default",    "phi-2",      "jina-es",    "jina-de",         "gigachat",    "mellum",
       "modern-bert", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code",    "roberta-bpe", "a.x-4.0",
       "mpt",         "olmo",       "jais",       "trillion",   "granite-docling", "exaone4"});
  add({.kind = P::kLlama3, .ignore_merges = true, .add_bos = true},
      {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"});
  add({.kind = P::kLlama3, .ignore_merges = true}, {"glm4", "glm5"});
  add({.kind = P::kLlama3}, {"smaug-bpe", "dbrx", "chatglm-bpe"});
  add({.kind = P::kQwen2, .nfc = true}, {"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"});
  add({.kind = P::kQwen2}, {"stablelm2", "hunyuan", "solar-open", "grok-2"});
  add(splits(starcoder),
      {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"});
  add(splits(deepseek_llm), {"deepseek-llm"});
  add(splits(deepseek_coder), {"deepseek-coder"});
  add(splits(deepseek3), {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"});
  add(splits(falcon), {"falcon"});
  add(splits({kGpt4o}), {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"});
  NamedPretokenizer tekken = splits({kTekken});
  tekken.ignore_merges = tekken.add_bos = true;
  add(tekken, {"tekken"});
  NamedPretokenizer qwen35 = splits({kQwen35});
  qwen35.nfc = true;
  add(qwen35, {"qwen35"});
  add(splits({kSeedCoder}), {"seed-coder"});
  add(splits({kBailing}), {"bailingmoe", "bailingmoe2", "llada-moe"});
  add(splits({kBloom}), {"bloom", "poro-chat", "gpt3-finnish"});
  add(splits({kBloom, kDigit}), {"viking"});
  return names;
}

}  // namespace

const std::vector<NamedPretokenizer>& named_pretokenizers() {
  static const std::vector<NamedPretokenizer> kNames = make_names();
  return kNames;
}

}  // namespace lowkey
