lowkey_test(attention_test
  SOURCES add_softmax_test.cc attention_decode_test.cc attention_prefill_test.cc kv_append_test.cc rope_test.cc
    rotate_heads_test.cc
    score_bounds_test.cc
    score_columns_test.cc
    score_keys_test.cc
    value_sums_test.cc
  LIBRARIES lowkey_ops lowkey_base)
lowkey_test(key_index_test
  SOURCES index_append_test.cc score_index_test.cc select_tokens_test.cc
  LIBRARIES lowkey_ops lowkey_base)
