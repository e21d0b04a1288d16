set(LINEAR_SOURCES
  cpu/activations.cc
  cpu/add.cc
  cpu/embed.cc
  cpu/gelu.cc
  cpu/gemm.cc
  cpu/gemm_amx.cc
  cpu/gemm_codes.cc
  cpu/gemm_f32.cc
  cpu/gemm_i16.cc
  cpu/gemv.cc
  cpu/gemv_codes.cc
  cpu/layernorm.cc
  cpu/matmul.cc
  cpu/quantize.cc
  cpu/rmsnorm.cc
  cpu/row_products.cc
  cpu/soft_cap.cc
  cpu/softmax.cc
  cpu/swiglu.cc
  cpu/transpose.cc
  ref/dequantize.cc
  ref/gelu.cc
  ref/layernorm.cc
  ref/matmul.cc
  ref/quantize.cc
  ref/quantize_k.cc
  ref/rmsnorm.cc
  ref/row_products.cc
  ref/soft_cap.cc
  ref/softmax.cc
  ref/swiglu.cc)

# GCC 12 warns of the deliberately undefined operands inside its own intrinsics.
set_source_files_properties(cpu/gemm_amx.cc PROPERTIES COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>")
