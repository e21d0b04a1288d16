// The main of every test program. LOWKEY_ISA=avx2 (or baseline, avx512, amx) holds the kernels to that
// instruction set, so that one machine tests all paths below its best; more than the machine has is no error.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "base/isa.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* word = std::getenv("LOWKEY_ISA"); word != nullptr && *word != '\0') {
    lowkey::limit_isa(std::min(lowkey::parse_isa(word), lowkey::detected_isa()));
  }
  std::cout << "isa: " << lowkey::name(lowkey::active_isa()) << '\n';
  return RUN_ALL_TESTS();
}
