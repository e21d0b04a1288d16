#include "bad_files/bad_file.h"
#include "bad_files/bytes.h"
#include "bad_files/tiny_model.h"

namespace lowkey {
namespace {

constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;

class Table {
 public:
  void file(const std::string& name, const std::string& words, const std::string& bytes,
            ErrorKind kind = ErrorKind::kCorruptFile) {
    add("safetensors, " + name, "model.safetensors", words, bytes, kind);
  }
  // A file of 16 bytes of data with this header.
  void header(const std::string& name, const std::string& words, const std::string& header,
              ErrorKind kind = ErrorKind::kCorruptFile) {
    file(name, words, raw_safetensors(header, std::string(16, '\1')), kind);
  }
  void index(const std::string& name, const std::string& words, const std::string& json,
             ErrorKind kind = ErrorKind::kCorruptFile) {
    add("index, " + name, "model.safetensors.index.json", words, json, kind);
  }
  std::vector<BadFile> cases() { return std::move(cases_); }

 private:
  void add(const std::string& name, const std::string& culprit, const std::string& words, const std::string& bytes,
           ErrorKind kind) {
    const auto write = [culprit, bytes](const TestFolder& folder) {
      write_tiny_folder(folder, "model");
      std::filesystem::remove(folder / "model/model.safetensors");
      folder.write("model/" + culprit, bytes);
    };
    cases_.push_back({name, write, "model", culprit, words, kind});
  }

  std::vector<BadFile> cases_;
};

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

// The header of one tensor.
std::string alone(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + tensor("a", dtype, shape, offsets) + "}";
}

void add_heads(Table& t) {
  const std::string deep(100000, '[');
  t.file("empty", "size = 0", "");
  t.file("seven bytes", "header length", "1234567");
  t.file("header longer than the file", "header length = 1000", raw(uint64_t{1000}) + "{}");
  t.file("header of 2^64 - 1 bytes", "header length = 18446744073709551615", raw(UINT64_MAX) + "{}");
  t.file("header above the limit", "header length = 100000001", raw(uint64_t{100'000'001}) + "{}");
  t.file("header of 0 bytes", "header length = 0", raw(uint64_t{0}) + "data");
  t.file("trailing bytes", "tensor data = 17 bytes", raw_safetensors(kRawHeader, std::string(17, 'x')));
  t.file("a GGUF file", "header length", RawGguf().bytes());
  t.header("not JSON", "header: not valid JSON at byte", "{\"a\":}");
  t.header("two JSON values", "header: not valid JSON at byte", "{}{}");
  t.header("an array", "header starts with '['", "[]");
  t.header("100000 open arrays", "header: depth = 9", "{\"a\":" + deep + "}");
  t.header("a tensor twice", "key 'a' occurs twice",
           "{" + tensor("a", "F32", "[4]", "[0,16]") + "," + tensor("a", "F32", "[4]", "[0,16]") + "}");
  t.header("dtype twice", "key 'dtype' occurs twice",
           R"({"a":{"dtype":"F32","dtype":"F16","shape":[4],"data_offsets":[0,16]}})");
  t.header("invalid UTF-8", "header: not valid JSON at byte", "{\"a\xff\":{}}");
  t.header("metadata is a list", "__metadata__ is array", R"({"__metadata__":[]})");
  t.header("metadata holds a number", "__metadata__ 'k' is number", R"({"__metadata__":{"k":1}})");
}

void add_tensors(Table& t) {
  t.header("a tensor is a number", "tensor 'a' has no 'dtype'", R"({"a":1})");
  t.header("no shape", "tensor 'a' has no 'shape'", R"({"a":{"dtype":"F32","data_offsets":[0,16]}})");
  t.header("no offsets", "tensor 'a' has no 'data_offsets'", R"({"a":{"dtype":"F32","shape":[4]}})");
  t.header("dtype F64", "tensor 'a' dtype = 'F64'", alone("F64", "[2]", "[0,16]"), kUnsupported);
  t.header("dtype with a line break", "tensor 'a' dtype = 'F\\x0a'", alone("F\\n", "[2]", "[0,16]"), kUnsupported);
  t.header("dtype is a number", "tensor 'a' dtype is number", R"({"a":{"dtype":1,"shape":[4],"data_offsets":[0,16]}})");
  t.header("shape is a number", "tensor 'a' shape is number", alone("F32", "4", "[0,16]"));
  t.header("shape of text", "tensor 'a' shape[0] = \"4\"", alone("F32", "[\"4\"]", "[0,16]"));
  t.header("negative dimension", "tensor 'a' shape[0] = -4", alone("F32", "[-4]", "[0,16]"));
  t.header("dimension 4.0", "tensor 'a' shape[0] = 4.0", alone("F32", "[4.0]", "[0,16]"));
  t.header("dimension 1e999", "header: a number is out of range", alone("F32", "[1e999]", "[0,16]"));
  t.header("dimension of 2^62", "tensor 'a' shape[0] = 4611686018427387904",
           alone("F32", "[4611686018427387904]", "[0,16]"));
  t.header("dimensions that multiply to 2^64", "tensor 'a' shape[1]",
           alone("F32", "[16,1152921504606846976]", "[0,16]"));
  t.header("five dimensions", "tensor 'a' rank = 5", alone("F32", "[1,1,1,1,4]", "[0,16]"), kUnsupported);
  t.header("fewer bytes than the shape", "tensor 'a' data_offsets span 8 bytes, must be 16",
           alone("F32", "[4]", "[0,8]"));
  t.header("more bytes than the shape", "tensor 'a' data_offsets span 16 bytes, must be 8",
           alone("F16", "[4]", "[0,16]"));
  t.header("offsets past the end", "tensor 'a' data_offsets = [0, 20]", alone("F32", "[5]", "[0,20]"));
  t.header("offsets of 2^64 - 1", "tensor 'a' data_offsets = [18446744073709551615, 0]",
           alone("F32", "[4]", "[18446744073709551615,0]"));
  t.header("offsets that fall", "tensor 'a' data_offsets = [16, 0]", alone("F32", "[4]", "[16,0]"));
  t.header("negative offset", "tensor 'a' data_offsets", alone("F32", "[4]", "[-16,0]"));
  t.header("three offsets", "tensor 'a' data_offsets", alone("F32", "[4]", "[0,8,16]"));
  t.header("a hole", "tensor 'a' data_offsets start at 8, leaving a hole", alone("F32", "[2]", "[8,16]"));
  t.header("an overlap", "tensor 'b' data_offsets start at 8, overlapping another",
           "{" + tensor("a", "F32", "[3]", "[0,12]") + "," + tensor("b", "F32", "[2]", "[8,16]") + "}");
  t.header("no tensors, but data", "tensor data = 16 bytes, must be 0", "{}");
}

void add_indexes(Table& t) {
  const auto names = [](const std::string& shard) { return R"({"weight_map":{"a":")" + shard + "\"}}"; };
  const std::string rule = "must be the name of a .safetensors file";
  t.index("not JSON", "not valid JSON at byte", "{\"weight_map\"");
  t.index("no weight_map", "has no object 'weight_map'", "{\"metadata\":{}}");
  t.index("weight_map is a list", "has no object 'weight_map'", "{\"weight_map\":[]}");
  t.index("no shards", "shards = 0", "{\"weight_map\":{}}");
  t.index("a shard that is a number", "weight_map 'a' is number", "{\"weight_map\":{\"a\":1}}");
  t.index("the folder above", rule, names("../model.safetensors"));
  t.index("two folders above", rule, names("x/../../model.safetensors"));
  t.index("an absolute path", rule, names("/etc/model.safetensors"));
  t.index("a backslash", rule, names("..\\\\model.safetensors"));
  t.index("a NUL", rule, names("a\\u0000.safetensors"));
  t.index("another kind of file", rule, names("config.json"));
  t.index("a shard that is not there", "weight_map 'a' = 'gone.safetensors', no such file", names("gone.safetensors"),
          ErrorKind::kNotFound);
  t.index("one tensor twice", "key 'a' occurs twice", R"({"weight_map":{"a":"1.safetensors","a":"2.safetensors"}})");
  t.index("deep nesting", "depth = 65", "{\"metadata\":" + std::string(100000, '[') + "}");
}

}  // namespace

std::vector<BadFile> bad_safetensors() {
  Table table;
  add_heads(table);
  add_tensors(table);
  add_indexes(table);
  return table.cases();
}

}  // namespace lowkey
