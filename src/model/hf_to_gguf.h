// hf_to_gguf: a Hugging Face folder of any family (family.h) becomes one GGUF file that llama.cpp loads too.
//
// Matrices are stored as `weights`, norms, biases and routers as f32. Under types of fewer bits the matrix that makes
// the logits (output.weight, or token_embd.weight when tied) is kQ8_0, under kQ*_K kQ6_K: few bits there cost the most
// quality of all. A matrix whose rows are no multiple of the block becomes kQ8_0, or f16 where they are none of 32.
// Families whose GGUF files turn other pairs (Family::gguf_layout) have
// their rows of q and k reordered from pairs i, i + D / 2 to pairs 2i, 2i + 1; llama3 scaling becomes the factors of
// rope_freqs.weight, longrope's lists rope_factors_long.weight and rope_factors_short.weight.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/context.h"
#include "base/dtype.h"

namespace lowkey {

// weights: any type of weights. progress, if any, hears the bytes of weights read so far and in all.
// The file appears only once it is complete; memory holds one tensor at a time. Throws what reading the folder and
// writing the file throws, kInvalidArgument for another type.
void hf_to_gguf(const Context&, const std::filesystem::path& folder, const std::filesystem::path& out, DType weights,
                const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace lowkey
