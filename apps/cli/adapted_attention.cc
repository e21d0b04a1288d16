#include "apps/cli/adapted_attention.h"

#include "apps/cli/options.h"
#include "model/config_fields.h"

namespace lowkey::cli {

namespace fs = std::filesystem;

std::string adapted_attention(const fs::path& model) {
  const fs::path config = model / "config.json";
  if (!fs::is_regular_file(config)) return "dense";
  const std::string spec = ConfigFields(read_whole(config.string()), config.string()).word("lowkey_attention");
  return spec.empty() ? "dense" : spec;
}

}  // namespace lowkey::cli
