set(ATTENTION_SOURCES
  check_bounds.cc
  check_index.cc
  check_kv.cc
  cpu/attention_decode.cc
  cpu/bounds_append.cc
  cpu/decode_chunk.cc
  cpu/prefill_block.cc
  cpu/prefill_block_amx.cc
  cpu/attention_prefill.cc
  cpu/group_keys.cc
  cpu/index_append.cc
  cpu/index_scan.cc
  cpu/kv_append.cc
  cpu/rope.cc
  cpu/rotate_heads.cc
  cpu/score_bounds.cc
  cpu/score_index.cc
  cpu/score_keys.cc
  cpu/score_rows.cc
  cpu/select_row.cc
  cpu/select_tokens.cc
  ref/attention_decode.cc
  ref/attention_prefill.cc
  ref/bounds_append.cc
  ref/group_keys.cc
  ref/index_append.cc
  ref/kv_append.cc
  ref/rope.cc
  ref/rotate_heads.cc
  ref/score_bounds.cc
  ref/score_index.cc
  ref/score_keys.cc
  ref/select_tokens.cc)
# GCC 12's own headers of AVX-512 intrinsics cause this warning.
set_source_files_properties(cpu/prefill_block_amx.cc PROPERTIES
  COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>")
