// lowkey inspect for encoders.
#pragma once

#include <string>

namespace lowkey::cli {

void inspect_encoder(const std::string& model, bool json, bool tensors);

}  // namespace lowkey::cli
