// agreement: how far a method's predictions are from dense attention's, on the same text.
//
// Windows are those of perplexity.h. All but the last `scored` tokens of a window are read once with dense attention;
// each method continues from there (replay.h). What it is judged by are the predictions after each of the last `scored`
// tokens, against dense attention's and against the token that follows (that of the last lies beyond the window). A
// method meant to be judged position by position must select for every row of a prompt (with_every_row); one that
// evicts reads these a token at a time, and its recall is among the tokens that it still has.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lab/observer.h"
#include "lab/statistics.h"
#include "lab/units.h"
#include "model/model.h"

namespace lowkey {

struct AgreementOptions {
  int64_t context = 8192;  // tokens a window
  int64_t windows = 0;     // 0: all
  int64_t scored = 512;    // 1 to context - 1
  int chunk = 512;         // tokens a step
  DType kv_type = DType::kF16;
  int observe_every = 8;  // rows from one that is compared with exact top-k to the next; 0: none
};

// One method on one window; means over its scored positions.
struct WindowAgreement {
  int64_t begin = 0;              // of the window in the stream
  double kl = 0;                  // KL(dense || method), nats
  double nll = 0, dense_nll = 0;  // of the next token, nats
  double same_top = 0;            // part of positions whose most likely token is dense attention's
  double seconds = 0;             // taking over the prefix, and all else
  Observation observed;
};

struct AgreementSummary {
  Estimate kl;
  Interval kl_interval;  // by bootstrap, as all of this name are
  double perplexity = 0, dense_perplexity = 0;
  Estimate increase;  // of perplexity, percent; windows are the observations
  Interval increase_interval;
  double same_top = 0;
  double seconds = 0;  // a window
  Observation observed;
};
// Throws kInvalidArgument when there are no windows.
AgreementSummary summarise(std::span<const WindowAgreement>);

// Told before a method starts on a window (or dense attention, with no name), and as it goes on. False ends the run;
// the results then cover what is done.
using AgreementProgress = std::function<bool(int64_t done, int64_t total, std::string_view method)>;

// The windows done by each method, in the methods' order. Throws kInvalidArgument when the stream is too short for a
// window and one token, or an option is out of range. Units: the windows.
std::vector<std::vector<WindowAgreement>> agreement(const Context&, const Model&, std::span<const ComparedMethod>,
                                                    std::span<const int32_t> stream, const AgreementOptions&,
                                                    const AgreementProgress&, const Units<WindowAgreement>& = {});

// Two predictions [V] of the same token.
struct LogitComparison {
  double kl = 0;                  // KL(dense || other), nats; >= 0 up to rounding in f64
  double dense_nll = 0, nll = 0;  // of the target
  bool same_top = false;          // the first of the highest
};
LogitComparison compare_logits(std::span<const float> dense, std::span<const float> other, int32_t target) noexcept;

// log of the probability that a prediction [V] gives a token, nats, in f64.
double log_likelihood(std::span<const float> logits, int32_t token) noexcept;

}  // namespace lowkey
