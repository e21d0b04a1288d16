// read_tune: what `lowkey tune --json-file` wrote. Throws kCorruptFile as run_facts.h does.
#pragma once

#include <nlohmann/json.hpp>

#include "apps/cli/report/run_facts.h"

namespace lowkey::cli {

TuneFacts read_tune(const nlohmann::json& all);

}  // namespace lowkey::cli
