lowkey_test(linear_test
  SOURCES matmul_test.cc
  LIBRARIES lowkey_ops)
