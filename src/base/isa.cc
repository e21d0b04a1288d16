#include "base/isa.h"

#include <hwy/highway.h>
#include <hwy/targets.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr std::string_view kNames[] = {"baseline", "avx2", "avx512", "amx"};

// Linux hands out the 8 KiB of AMX tile state only on request.
bool request_amx() noexcept {
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  const bool amx_tile = edx >> 24 & 1, amx_bf16 = edx >> 22 & 1;
  return amx_tile && amx_bf16 && syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

Isa detect() noexcept {
  const auto targets = static_cast<int64_t>(hwy::SupportedTargets());
  if (targets & HWY_AVX3) return request_amx() ? Isa::kAmx : Isa::kAvx512;
  return targets & HWY_AVX2 ? Isa::kAvx2 : Isa::kBaseline;
}

std::atomic<Isa>& active() noexcept {
  static std::atomic<Isa> isa{detected_isa()};
  return isa;
}

}  // namespace

Isa detected_isa() noexcept {
  static const Isa isa = detect();
  return isa;
}

Isa active_isa() noexcept { return active().load(std::memory_order_relaxed); }

void limit_isa(Isa isa) {
  LK_REQUIRE(isa <= detected_isa(), kUnsupported, "[isa] {}: this machine has {} at best", name(isa),
             name(detected_isa()));
  active().store(isa);
  // Highway orders targets from best (lowest bit) to worst: disable all that are better than asked for.
  int64_t disabled = 0;
  if (isa < Isa::kAvx512) disabled |= (HWY_AVX2 - 1);
  if (isa < Isa::kAvx2) disabled |= HWY_AVX2;
  hwy::DisableTargets(disabled);
  // Now, not at the next dispatch: while a first thread there looks the targets up, others would get all of them.
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::string_view name(Isa isa) noexcept { return kNames[static_cast<int>(isa)]; }

Isa parse_isa(std::string_view word) {
  const auto* found = std::find(std::begin(kNames), std::end(kNames), word);
  LK_REQUIRE(found != std::end(kNames), kInvalidArgument, "[isa] '{}', must be baseline, avx2, avx512 or amx", word);
  return static_cast<Isa>(found - kNames);
}

}  // namespace lowkey
