// report_page: runs as one HTML page that needs nothing else: styles, script and charts are in it, and every number is
// in a table that is there without JavaScript.
#pragma once

#include <span>
#include <string>

#include "apps/cli/report/run_facts.h"

namespace lowkey::cli {

std::string report_page(std::span<const RunFacts> runs);

}  // namespace lowkey::cli
