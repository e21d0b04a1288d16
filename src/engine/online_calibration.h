// Calibration from what a model reads right now: for prompts of a model that has no calibration file.
#pragma once

#include <functional>
#include <span>

#include "attention/calibration.h"
#include "model/model.h"

namespace lowkey {

// The model reads one text, in steps of `chunk` tokens, and the recorder takes down its keys. after_step(tokens of the
// step) may throw to end the job.
void record_keys(const Context&, const Model&, const KeyRecorder&, std::span<const int32_t> tokens, int chunk,
                 const std::function<void(int64_t tokens)>& after_step);

// Bases and variances from the first tokens of a prompt, at most `most` of them; no codebooks, which need more keys
// than that. Throws kInvalidArgument when the prompt is too short to say anything (fewer tokens than 16 + head_dim).
Calibration fit_online(const Context&, const Model&, std::span<const int32_t> prompt, int64_t most = 4096);

}  // namespace lowkey
