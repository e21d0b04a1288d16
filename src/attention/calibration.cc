#include "attention/calibration.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {

std::string_view name(BasisKind kind) noexcept {
  constexpr std::array<std::string_view, kBasisKinds.size()> kNames{"post", "pre", "balanced", "weighted", "content"};
  return kNames[static_cast<size_t>(kind)];
}

void Calibration::require_model(const std::string& fingerprint, const std::filesystem::path& path) const {
  LK_REQUIRE(fingerprint == model, kInvalidArgument, "[calibration] {}: made for model {}, this is {}",
             printable(path.string(), 300), printable(model, 200), fingerprint);
}

const Codebooks* Calibration::find_codebooks(BasisKind basis, int bits) const noexcept {
  const auto found = std::find_if(codebooks.begin(), codebooks.end(),
                                  [&](const Codebooks& c) { return c.basis == basis && c.bits == bits; });
  return found == codebooks.end() ? nullptr : &*found;
}

}  // namespace lowkey
