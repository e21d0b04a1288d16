// Results of single pieces of work to JSON and back, number for number: what `lowkey eval --resume` keeps.
#pragma once

#include <nlohmann/json.hpp>

#include "lab/agreement.h"
#include "lab/items.h"
#include "lab/needle_trials.h"
#include "lab/perplexity.h"

namespace lowkey {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WindowScore, nll, tokens, seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Needle, noun, code, depth)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NeedleTrial, length, document, needle, said, found, nll, seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ItemResult, nll, chosen, chosen_by_byte, said, right, right_by_byte, seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LayerObservation, lists, recall, jaccard, query_heads, mass, exact_mass,
                                   output_error)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Observation, layers, heads, pairs, cached, read, index_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WindowAgreement, begin, kl, nll, dense_nll, same_top, seconds, observed)

}  // namespace lowkey
