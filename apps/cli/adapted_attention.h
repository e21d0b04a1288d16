#pragma once

#include <filesystem>
#include <string>

namespace lowkey::cli {

// The attention that the weights of a folder were adapted to, as python -m lowkey.adapt writes it into config.json; or
// "dense". What is used where the user names no method.
std::string adapted_attention(const std::filesystem::path& model);

}  // namespace lowkey::cli
