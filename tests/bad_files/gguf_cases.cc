#include "bad_files/bad_file.h"
#include "bad_files/bytes.h"

namespace lowkey {
namespace {

constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;

class Table {
 public:
  void add(const std::string& name, const std::string& words, const std::function<void(RawGguf&)>& spoil,
           ErrorKind kind = ErrorKind::kCorruptFile) {
    RawGguf file;
    spoil(file);
    add_bytes(name, words, file.bytes(), kind);
  }
  void add_bytes(const std::string& name, const std::string& words, const std::string& bytes,
                 ErrorKind kind = ErrorKind::kCorruptFile) {
    cases_.push_back({"gguf, " + name, [bytes](const TestFolder& folder) { folder.write("model.gguf", bytes); },
                      "model.gguf", "model.gguf", words, kind});
  }
  std::vector<BadFile> cases() { return std::move(cases_); }

 private:
  std::vector<BadFile> cases_;
};

void add_head(Table& t) {
  t.add_bytes("empty", "size = 0", "");
  t.add_bytes("magic only", "version", "GGUF");
  t.add_bytes("head cut", "tensor_count = 2, must be <= 0", RawGguf().bytes().substr(0, 20));
  t.add("wrong magic", "magic = 0x58554747", [](RawGguf& f) { f.magic = "GGUX"; });
  t.add("the format before", "magic", [](RawGguf& f) { f.magic = "lmgg"; });
  t.add("version 0", "version = 0", [](RawGguf& f) { f.version = 0; }, kUnsupported);
  t.add("version 1", "version = 1", [](RawGguf& f) { f.version = 1; }, kUnsupported);
  t.add("version 4", "version = 4", [](RawGguf& f) { f.version = 4; }, kUnsupported);
  t.add("big-endian", "version = 0x03000000", [](RawGguf& f) { f.version = 0x03000000; }, kUnsupported);
  t.add("2^63 tensors", "tensor_count = 9223372036854775808", [](RawGguf& f) { f.tensor_count = uint64_t{1} << 63; });
  t.add("10^8 tensors", "tensor_count = 99999999, must be <= 65536", [](RawGguf& f) { f.tensor_count = 99999999; });
  t.add("more tensors than bytes", "tensor_count = 60000", [](RawGguf& f) { f.tensor_count = 60000; });
  t.add("one tensor too many", "tensor[2].name", [](RawGguf& f) { f.tensor_count = 3; });
  t.add("2^64 - 1 pairs", "metadata_count = 18446744073709551615", [](RawGguf& f) { f.pair_count = UINT64_MAX; });
  t.add("more pairs than bytes", "metadata_count = 60000", [](RawGguf& f) { f.pair_count = 60000; });
}

void add_pair(Table& t, const std::string& name, const std::string& words, const std::string& pair,
              ErrorKind kind = ErrorKind::kCorruptFile) {
  t.add(name, words, [&](RawGguf& f) { f.pairs[2] = pair; }, kind);
}

void add_metadata(Table& t) {
  const std::string one = raw(uint32_t{1});
  add_pair(t, "key longer than the file", "metadata[2].key length = 18446744073709551615", raw(UINT64_MAX) + "key");
  add_pair(t, "empty key", "metadata[2].key length = 0", raw_pair("", kRawUint32, one));
  add_pair(t, "key of 70000 bytes", "metadata[2].key length = 70000",
           raw_pair(std::string(70000, 'k'), kRawUint32, one));
  add_pair(t, "key twice", "'general.architecture'", raw_pair("general.architecture", kRawUint32, one));
  add_pair(t, "value type 13", "'x'.type = 13", raw_pair("x", 13, one));
  add_pair(t, "value type 2^32 - 1", "'x'.type = 4294967295", raw_pair("x", UINT32_MAX, one));
  add_pair(t, "line breaks and escapes in a key", "'a\\x0a\\x1b[31mb'.type", raw_pair("a\n\x1b[31mb", 13, one));
  add_pair(t, "string longer than the file", "'x' length = 9223372036854775807",
           raw_pair("x", kRawString, raw(uint64_t{INT64_MAX})));
  add_pair(t, "bool of 2", "'x' = 2", raw_pair("x", kRawBool, raw(uint8_t{2})));
  add_pair(t, "array of 2^61 numbers", "'x'.count = 2305843009213693952",
           raw_pair("x", kRawArray, raw_array(kRawUint64, uint64_t{1} << 61, "")));
  add_pair(t, "array larger than the file", "'x'.count = 100000",
           raw_pair("x", kRawArray, raw_array(kRawUint8, 100000, "")));
  add_pair(t, "array of unknown things", "'x'.element_type = 99", raw_pair("x", kRawArray, raw_array(99, 1, one)));
  add_pair(t, "array of arrays", "'x' = an array of arrays",
           raw_pair("x", kRawArray, raw_array(kRawArray, 1, raw_array(kRawUint8, 0, ""))), kUnsupported);
  add_pair(t, "string in an array longer than the file", "'x' length = 4294967296",
           raw_pair("x", kRawArray, raw_array(kRawString, 1, raw(uint64_t{1} << 32) + "text")));
}

void add_alignment(Table& t) {
  const auto add = [&](const std::string& name, const std::string& words, uint32_t type, const std::string& value) {
    t.add("alignment " + name, words, [&](RawGguf& f) { f.pairs[1] = raw_pair("general.alignment", type, value); });
  };
  add("0", "'general.alignment' = 0", kRawUint32, raw(uint32_t{0}));
  add("1", "'general.alignment' = 1", kRawUint32, raw(uint32_t{1}));
  add("48", "'general.alignment' = 48", kRawUint32, raw(uint32_t{48}));
  add("2^31", "'general.alignment' = 2147483648", kRawUint32, raw(uint32_t{1} << 31));
  add("-32", "'general.alignment' = -32", kRawInt32, raw(int32_t{-32}));
  add("2^64 - 1", "'general.alignment' is an integer", kRawUint64, raw(UINT64_MAX));
  add("as text", "'general.alignment' is text", kRawString, raw_text("32"));
}

void add_shapes(Table& t) {
  const auto dims = [&](const std::string& name, const std::string& words, const std::vector<uint64_t>& values) {
    t.add("dims " + name, words, [&](RawGguf& f) { f.infos[0].dims = values; });
  };
  const uint64_t big = uint64_t{1} << 32;
  t.add("n_dims 0", "tensor 'first' n_dims = 0", [](RawGguf& f) { f.infos[0].rank = 0; });
  t.add("n_dims 5", "tensor 'first' n_dims = 5", [](RawGguf& f) { f.infos[0].rank = 5; });
  t.add("n_dims 2^32 - 1", "n_dims = 4294967295", [](RawGguf& f) { f.infos[0].rank = UINT32_MAX; });
  dims("0", "tensor 'first' dims[0] = 0", {0});
  dims("0 at the end", "tensor 'first' dims[1] = 0", {32, 0});
  dims("-1", "tensor 'first' dims[0] = 18446744073709551615", {UINT64_MAX});
  dims("2^63", "tensor 'first' dims[0] = 9223372036854775808", {uint64_t{1} << 63});
  dims("that multiply to 2^64", "tensor 'first' dims[0]", {big, big});
  dims("that multiply to 2^64 in the second step", "tensor 'first' dims[1]", {4, uint64_t{1} << 62});
  dims("that multiply to 2^64 in the third step", "tensor 'first' dims[2]", {16, 16, uint64_t{1} << 56});
  dims("that multiply to 2^64 in the last step", "tensor 'first' dims[3]", {8, 8, 4, uint64_t{1} << 56});
  dims("whose bytes wrap around to 128", "tensor 'first' dims[0]", {(uint64_t{1} << 62) + 32});
  t.add("a q8_0 row of 48", "tensor 'second' row length = 48", [](RawGguf& f) { f.infos[1].dims = {48, 2}; });
  t.add("a q4_0 row of 1", "tensor 'second' row length = 1", [](RawGguf& f) { f.infos[1] = {"second", {1}, 2, 128}; });
  t.add("a q6_k row of 128", "tensor 'second' row length = 128, must be a multiple of 256",
        [](RawGguf& f) { f.infos[1] = {"second", {128}, 14, 128}; });
}

void add_types(Table& t) {
  const auto add = [&](const std::string& name, const std::string& words, uint32_t type) {
    t.add("type " + name, words, [&](RawGguf& f) { f.infos[0].type = type; }, kUnsupported);
  };
  add("removed", "tensor 'first' type = 4 (unknown or removed)", 4);
  add("IQ4_NL", "tensor 'first' type = 20 (IQ4_NL)", 20);
  add("99", "tensor 'first' type = 99 (unknown or removed)", 99);
  add("2^32 - 1", "tensor 'first' type = 4294967295", UINT32_MAX);
}

void add_places(Table& t) {
  const auto offset = [&](const std::string& name, const std::string& words, uint64_t value) {
    t.add("offset " + name, words, [&](RawGguf& f) { f.infos[1].offset = value; });
  };
  t.add("empty tensor name", "tensor[0].name length = 0", [](RawGguf& f) { f.infos[0].name = ""; });
  t.add("tensor name of 65 bytes", "tensor[0].name length = 65", [](RawGguf& f) { f.infos[0].name.resize(65, 'x'); });
  t.add("tensor name twice", "tensor name = 'first'", [](RawGguf& f) { f.infos[1].name = "first"; });
  offset("not aligned", "tensor 'second' offset = 129", 129);
  offset("past the end", "tensor 'second' offset = 1048576", 1 << 20);
  offset("that wraps around", "tensor 'second' offset = 18446744073709551584", UINT64_MAX - 31);
  offset("of another tensor", "overlaps", 0);
  offset("inside another tensor", "tensor 'second' offset = 96, overlaps another", 96);
  t.add("data cut by one byte", "tensor 'second' offset = 128 with 136 bytes", [](RawGguf& f) { f.data.pop_back(); });
  t.add("no data", "tensor 'first' offset = 0", [](RawGguf& f) { f.data.clear(); });
  t.add("larger than the data", "tensor 'first' offset = 0 with 512 bytes",
        [](RawGguf& f) { f.infos[0].dims = {128}; });
}

}  // namespace

std::vector<BadFile> bad_ggufs() {
  Table table;
  add_head(table);
  add_metadata(table);
  add_alignment(table);
  add_shapes(table);
  add_types(table);
  add_places(table);
  return table.cases();
}

}  // namespace lowkey
