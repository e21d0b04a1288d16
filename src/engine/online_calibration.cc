#include "engine/online_calibration.h"

#include <algorithm>

#include "attention/fit_calibration.h"
#include "base/error.h"

namespace lowkey {

void record_keys(const Context& context, const Model& model, const KeyRecorder& recorder,
                 std::span<const int32_t> tokens, int chunk, const std::function<void(int64_t)>& after_step) {
  KvCache cache(kv_shape(model.shape(), recorder, DType::kF16, static_cast<int64_t>(tokens.size())));
  const KvCache::SequenceId sequence = cache.open();
  for (size_t begin = 0; begin < tokens.size();) {
    const size_t count = std::min(static_cast<size_t>(chunk), tokens.size() - begin);
    LK_REQUIRE(cache.grow(sequence, static_cast<int64_t>(count)), kInternal, "[record] the cache is full");
    const StepSequence step{sequence, static_cast<int32_t>(count)};
    model.forward(context, recorder, cache, {tokens.subspan(begin, count), {&step, 1}, {}, {}});
    begin += count;
    if (after_step) after_step(static_cast<int64_t>(count));
  }
}

Calibration fit_online(const Context& context, const Model& model, std::span<const int32_t> prompt, int64_t most) {
  constexpr int kChunk = 512;
  const auto tokens = prompt.first(std::min(prompt.size(), static_cast<size_t>(most)));
  const RecordOptions options{.tokens = std::max<int64_t>(static_cast<int64_t>(tokens.size()), 1), .sample = 0};
  const int64_t least = options.first + model.shape().attention.head_dim;
  LK_REQUIRE(options.tokens >= least, kInvalidArgument,
             "[calibration] a prompt of {} tokens, must be {} or more to fit to, or give a calibration file",
             options.tokens, least);
  const KeyRecorder recorder(model.shape().attention, options);
  record_keys(context, model, recorder, tokens, kChunk, nullptr);
  Calibration calibration = fit_calibration(context, recorder.statistics(), {.codebook_bits = {}}, nullptr);
  calibration.model = model.fingerprint();
  calibration.context = options.tokens;
  calibration.tool = "this prompt";
  return calibration;
}

}  // namespace lowkey
