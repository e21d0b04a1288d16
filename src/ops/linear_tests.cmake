lowkey_test(linear_test
  SOURCES elementwise_test.cc matmul_test.cc quantize_test.cc row_products_test.cc
  LIBRARIES lowkey_ops)

if(LOWKEY_BENCH)
  add_executable(matmul_bench matmul_bench.cc)
  target_link_libraries(matmul_bench PRIVATE lowkey_ops)
endif()
