// Calibration: what was learned of a model's keys from some text, and is used on any: bases in which few numbers say
// most of a key, how much each of them varies and matters, codebooks. One safetensors file, for one model
// (Model::fingerprint). All coordinates of keys are in the layout RopeLayout::kHalf, whatever the model's own.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attention/key_statistics.h"

namespace lowkey {

//   kPost      principal directions of keys as they lie in the cache
//   kPre       those of keys before RoPE, applied to keys after it (Loki's "pre-rotary": content rather than position)
//   kBalanced  balanced_basis of linalg/basis.h
//   kWeighted  weighted_basis of power 3/8: part of the way to balance; best for a bit a coordinate and more
//   kContent   mixed_basis of keys as they lie in the cache and of their content (content_covariance.h): best for less
enum class BasisKind : uint8_t { kPost, kPre, kBalanced, kWeighted, kContent };
inline constexpr std::array kBasisKinds{BasisKind::kPost, BasisKind::kPre, BasisKind::kBalanced, BasisKind::kWeighted,
                                        BasisKind::kContent};
// "post", "pre", "balanced", "weighted", "content".
std::string_view name(BasisKind) noexcept;
// Whether queries are turned by the same matrix as keys: KeyBasis::query is KeyBasis::key.
constexpr bool is_orthogonal(BasisKind kind) noexcept {
  return kind != BasisKind::kBalanced && kind != BasisKind::kWeighted;
}
// The one that ranks best with so many bits a key (docs/decisions/calibration.md).
constexpr BasisKind best_basis(int bits, int head_dim) noexcept {
  return bits < head_dim ? BasisKind::kContent : BasisKind::kWeighted;
}

inline constexpr std::array kRankShares{0.50, 0.80, 0.90, 0.95, 0.99};

struct KeyBasis {
  std::vector<float> key;       // [L, KH, D, D] z = key (k - mean)
  std::vector<float> query;     // [L, KH, D, D] u = query q; of orthogonal bases a copy of key
  std::vector<float> spectrum;  // [L, KH, D] descending: variance of the keys that the basis was fitted to
  std::vector<float> variance;  // [L, KH, D] of z, keys after RoPE
  std::vector<float> weight;    // [L, KH, D] mean u^2: what an error of 1 in a coordinate does to a squared score
  // [L, KH, 5] coordinates that hold kRankShares of the spectrum; balanced: of its squares, the variances of scores
  std::vector<int32_t> ranks;
};

// Codes of N bits a key, N / 4 nibbles, in one basis.
struct Codebooks {
  BasisKind basis = BasisKind::kPost;
  int bits = 0;                  // N
  int rows = 0;                  // W: of entries, the nibbles' widths in sum, the most of any head
  std::vector<int32_t> order;    // [L, KH, D] coordinates of the basis as they lie in the nibbles
  std::vector<int32_t> nibbles;  // [L, KH, N / 4, 2] begin (in that order) and width
  std::vector<float> entries;    // [L, KH, W, 16] nibble after nibble
};

struct CalibrationText {
  std::string name;  // of the file, without its folder
  int64_t bytes = 0;
  std::string hash;  // FNV-1a, hexadecimal
};

// A method for each layer, as `lowkey tune` chose them (layered.h).
struct Profile {
  std::vector<std::string> layers;  // [L] specs
  std::string about;                // how it was found, for people
};

struct Calibration {
  std::string model;  // its fingerprint
  int layers = 0, kv_heads = 0, head_dim = 0;
  int64_t tokens = 0;   // that the statistics counted
  int64_t context = 0;  // of the windows
  std::string tool;     // that made the file: "lowkey 0.1.0"
  std::vector<CalibrationText> texts;

  std::vector<float> mean;                         // [L, KH, D] of keys after RoPE
  std::array<KeyBasis, kBasisKinds.size()> bases;  // by BasisKind
  std::vector<Codebooks> codebooks;
  std::optional<Profile> profile;
  std::optional<KeyStatistics> statistics;  // what merges with others; a small file does without

  // Throw kNotFound, kCorruptFile (wrong shape, NaN, a basis that is not orthogonal or not its partner's inverse, a
  // spectrum that rises), kUnsupported (another version of the format).
  static Calibration load(const std::filesystem::path&);
  void save(const std::filesystem::path&) const;
  // Throws kInvalidArgument when made for another model; `path` names the file in the message.
  void require_model(const std::string& fingerprint, const std::filesystem::path& path) const;

  const KeyBasis& basis(BasisKind kind) const noexcept { return bases[static_cast<size_t>(kind)]; }
  const Codebooks* find_codebooks(BasisKind, int bits) const noexcept;  // null when there are none
  size_t head(int layer, int kv_head) const noexcept {
    return static_cast<size_t>(int64_t{layer} * kv_heads + kv_head);
  }
};

}  // namespace lowkey
