// input_spectra MODEL TEXT [WINDOWS [LENGTH...]]: how low-rank the inputs of attention are (src/lab/input_spectra.h),
// as tab-separated means over windows of the text: for each length a line for all layers together, then one a layer.
// rank@p: directions that hold p % of the energy, of C; mu: SVD entropy; the last four of centred inputs.
// An encoder reads every length as a text of its own, up to its context.
#include "lab/input_spectra.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "lab/perplexity.h"
#include "linalg/spectrum.h"
#include "lowkey/error.h"
#include "model/tokenizer_loader.h"

namespace {

using lowkey::InputSpectrum;

constexpr int kColumns = 8;
struct Row {
  double sum[kColumns] = {};
  int count = 0;

  void add(const InputSpectrum& s) {
    int column = 0;
    for (const auto* values : {&s.singular_values, &s.centred}) {
      for (double share : {0.90, 0.95, 0.99}) sum[column++] += lowkey::energy_rank(*values, share);
      sum[column++] += lowkey::svd_entropy(*values);
    }
    ++count;
  }
  void print(int64_t tokens, const char* layer) const {
    std::printf("%lld\t%s", static_cast<long long>(tokens), layer);
    for (int i = 0; i < kColumns; ++i) std::printf(i % 4 == 3 ? "\t%.2f" : "\t%.0f", sum[i] / count);
    std::printf("\n");
  }
};

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void measure(int argc, char** argv) {
  const int64_t windows = argc > 3 ? std::atoll(argv[3]) : 1;
  std::vector<int64_t> lengths;
  for (int i = 4; i < argc; ++i) lengths.push_back(std::atoll(argv[i]));
  if (lengths.empty()) lengths = {128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  const lowkey::Context context;
  const auto encoder = lowkey::is_encoder(argv[1]) ? lowkey::open_encoder(argv[1]) : nullptr;
  const auto model = encoder ? nullptr : lowkey::open_model(argv[1]);
  if (encoder) std::erase_if(lengths, [&](int64_t length) { return length > encoder->shape().context; });
  const auto stream = lowkey::document_tokens(lowkey::load_tokenizer(argv[1]), read_file(argv[2]));
  std::map<std::pair<int64_t, int>, Row> rows;  // length, and layer or -1
  for (int64_t begin : lowkey::window_begins(static_cast<int64_t>(stream.size()), lengths.back(), windows)) {
    const auto window = std::span(stream).subspan(static_cast<size_t>(begin), static_cast<size_t>(lengths.back()));
    const auto spectra = encoder ? input_spectra(context, *encoder, window, lengths)
                                 : input_spectra(context, *model, window, lengths, [](int64_t) { return true; });
    for (const InputSpectrum& s : spectra) {
      rows[{s.tokens, -1}].add(s);
      rows[{s.tokens, s.layer}].add(s);
    }
  }
  std::printf("tokens\tlayer\trank@90\trank@95\trank@99\tmu\tcentred@90\tcentred@95\tcentred@99\tcentred mu\n");
  for (const auto& [key, row] : rows) row.print(key.first, key.second < 0 ? "all" : std::to_string(key.second).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: input_spectra MODEL TEXT [WINDOWS [LENGTH...]]\n");
    return 2;
  }
  try {
    measure(argc, argv);
  } catch (const lowkey::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
