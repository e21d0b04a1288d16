// lowkey: the command line. Exit codes: 0 done, 1 the job failed (one line on stderr), 2 wrong usage, 130 interrupted.
#include <fmt/format.h>

#include <cstdio>
#include <new>

#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "lowkey/error.h"

namespace {

constexpr const char* kFooter = R"(Examples:
  lowkey run model.gguf -p "Once upon a time" -n 64
  lowkey run model.gguf -f book.txt -p "Question: who is the narrator? Answer:" -n 32
  lowkey convert path/to/hugging-face-folder -o model.gguf --type q8_0
  lowkey calibrate model.gguf --text books.txt --tokens 300000 -o model.calibration.safetensors
  lowkey eval model.gguf --text book.txt --context 2048
  lowkey tune model.gguf --text book.txt --max-loss 0.5%
  lowkey bench decode model.gguf --depth 0,32768
  lowkey report eval.json bench.json -o report.html

MODEL is a .gguf file or a Hugging Face folder (config.json, safetensors, tokenizer.json).
'lowkey VERB --help' explains a verb. Results go to stdout, progress and messages to stderr.)";

int run(int argc, char** argv) {
  CLI::App app{"lowkey: LLM inference that reads only the keys that matter."};
  app.footer(kFooter);
  app.set_version_flag("--version", "lowkey " LOWKEY_VERSION);
  app.require_subcommand(1);
  lowkey::cli::add_run(app);
  lowkey::cli::add_tokenize(app);
  lowkey::cli::add_inspect(app);
  lowkey::cli::add_convert(app);
  lowkey::cli::add_calibrate(app);
  lowkey::cli::add_eval(app);
  lowkey::cli::add_tune(app);
  lowkey::cli::add_bench(app);
  lowkey::cli::add_report(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return lowkey::cli::interrupted() ? 130 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  lowkey::cli::install_signal_handlers();
  try {
    return run(argc, argv);
  } catch (const lowkey::Error& error) {
    fmt::print(stderr, "lowkey: {}\n", error.what());
    if (lowkey::cli::interrupted()) return 130;
    return error.kind() == lowkey::ErrorKind::kInvalidArgument ? 2 : 1;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "lowkey: out of memory\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "lowkey: {}\n", error.what());
  }
  return 1;
}
