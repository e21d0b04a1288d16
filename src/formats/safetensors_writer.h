// write_safetensors: one safetensors file, which any reader of the format opens. Tensor data start at a multiple of 64
// bytes and wide types come first, so that a mapped file is used as it lies.
#pragma once

#include <filesystem>

#include "formats/safetensors_parser.h"

namespace lowkey {

// The file appears under its name only once it is complete (new_file.h). Throws kInvalidArgument (a quantised type, a
// view without data), kNotFound, kOutOfMemory.
void write_safetensors(const std::filesystem::path&, const SafetensorsContent&);

}  // namespace lowkey
