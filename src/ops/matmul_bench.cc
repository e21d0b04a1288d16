// matmul_bench [TYPE [THREADS [T...]]]: the layers of kMatmulLayers, weights cold (several copies, more than the caches
// hold). Prints, per case, the best and median time, what it means in GB/s of weights and GFLOP/s, and first the DRAM
// read probe: the floor of a decoding step is bytes / probe.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "base/arena.h"
#include "base/isa.h"
#include "ops/matmul.h"
#include "ops/matmul_cases.h"
#include "ops/quantize.h"

namespace lowkey {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// What one thread is measured by: other programs disturb it less than the clock on the wall.
double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Timing {
  double best, median;
};

template <typename F>
Timing measure(const Context& context, F&& f) {
  const bool alone = context.threads.count() == 1;
  std::vector<double> times;
  for (double start = seconds(); times.size() < 5 || (seconds() - start < 0.7 && times.size() < 200);) {
    const double begin = alone ? processor_seconds() : seconds();
    f();
    times.push_back((alone ? processor_seconds() : seconds()) - begin);
  }
  std::sort(times.begin(), times.end());
  return {times[0], times[times.size() / 2]};
}

// Sums 256 MB in order with all threads.
void print_read_probe(const Context& context) {
  const HugeBuffer buffer(size_t{256} << 20);
  const auto* words = reinterpret_cast<const uint64_t*>(buffer.data());
  std::memset(buffer.data(), 1, buffer.size());
  std::atomic<uint64_t> sink{0};
  const Timing time = measure(context, [&] {
    context.threads.split(static_cast<int64_t>(buffer.size() / 8), 4096, [&](int64_t begin, int64_t end, int) {
      uint64_t sums[16] = {};
      for (int64_t i = begin; i < end; i += 16) {
        for (int j = 0; j < 16; ++j) sums[j] += words[i + j];
      }
      for (uint64_t sum : sums) sink += sum;
    });
  });
  std::printf("isa %s, %d threads, DRAM read probe %.1f GB/s best, %.1f median\n", name(active_isa()).data(),
              context.threads.count(), static_cast<double>(buffer.size()) / time.best * 1e-9,
              static_cast<double>(buffer.size()) / time.median * 1e-9);
}

void run_case(const Context& context, DType type, const MatmulCase& c) {
  const int64_t bytes = c.outputs * row_bytes(type, c.depth);
  const int64_t copies = std::max<int64_t>(1, (int64_t{256} << 20) / bytes);
  const HugeBuffer weights(static_cast<size_t>(bytes * copies));
  std::vector<float> row(static_cast<size_t>(c.depth));
  for (float& w : row) w = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) - 0.5f;
  for (int64_t r = 0; r < c.outputs * copies; ++r) {
    std::byte* at = weights.data() + r * row_bytes(type, c.depth);
    if (r == 0) {
      quantize_row(type, row.data(), at, c.depth);
    } else {
      std::memcpy(at, weights.data(), static_cast<size_t>(row_bytes(type, c.depth)));
    }
  }
  std::vector<float> x(static_cast<size_t>(c.rows * c.depth), 0.5f), out(static_cast<size_t>(c.rows * c.outputs));
  int64_t copy = 0;
  const Timing time = measure(context, [&] {
    copy = (copy + 1) % copies;
    matmul(context,
           {f32_view(x.data(), {c.rows, c.depth}), View(weights.data() + copy * bytes, type, {c.outputs, c.depth}),
            f32_view(out.data(), {c.rows, c.outputs})});
  });
  const double operations = 2.0 * static_cast<double>(c.rows * c.depth * c.outputs);
  std::printf("%-5s T=%-4ld K=%-5ld N=%-6ld best %9.1f us  median %9.1f us  %6.1f GB/s  %7.1f GFLOP/s (median)\n",
              name(type).data(), static_cast<long>(c.rows), static_cast<long>(c.depth), static_cast<long>(c.outputs),
              time.best * 1e6, time.median * 1e6, static_cast<double>(bytes) / time.median * 1e-9,
              operations / time.median * 1e-9);
}

}  // namespace
}  // namespace lowkey

int main(int argc, char** argv) {
  using namespace lowkey;
  if (const char* isa = std::getenv("LOWKEY_ISA")) limit_isa(parse_isa(isa));
  const Context context(argc > 2 ? std::atoi(argv[2]) : 0);
  std::vector<int64_t> rows = {1, 4, 512};
  if (argc > 3) rows.clear();
  for (int i = 3; i < argc; ++i) rows.push_back(std::atoi(argv[i]));
  print_read_probe(context);
  for (DType type : kWeightTypes) {
    if (argc > 1 && std::string(argv[1]) != "all" && argv[1] != name(type)) continue;
    for (int64_t t : rows) {
      for (MatmulCase c : kMatmulLayers) {
        c.rows = t;
        if (t <= 8 || c.outputs < 32000) run_case(context, type, c);
      }
    }
  }
}
