// One function a verb: adds its subcommand, with its options, to the app. The subcommand's callback does the job,
// writes results to stdout and everything else to stderr, and throws lowkey::Error when the job fails.
#pragma once

#include <CLI/CLI.hpp>

namespace lowkey::cli {

void add_run(CLI::App&);
void add_tokenize(CLI::App&);
void add_inspect(CLI::App&);
void add_convert(CLI::App&);
void add_calibrate(CLI::App&);
void add_eval(CLI::App&);
void add_tune(CLI::App&);
void add_bench(CLI::App&);
void add_report(CLI::App&);
void add_bench_attention(CLI::App& bench);  // these two below bench
void add_bench_reading(CLI::App& bench);

}  // namespace lowkey::cli
