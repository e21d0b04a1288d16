// BertConfig: the hyperparameters of a BERT model, from its config.json, every one checked before it is used.
#pragma once

#include <string>
#include <string_view>

#include "model/encoder.h"

namespace lowkey {

struct BertConfig {
  int layers = 0;
  int width = 0;     // C
  int heads = 0;     // H
  int head_dim = 0;  // D
  int ffn = 0;       // F
  int vocabulary = 0;
  int64_t context = 0;  // rows of the table of positions
  int types = 0;        // rows of the table of token types
  float norm_epsilon = 0;
  Classes classes;  // with labels when the architecture is BertForSequenceClassification
};

// Throws kCorruptFile (out of range, missing), kUnsupported (another family, activation or kind of positions);
// `source` names the file in messages.
BertConfig parse_bert_config(std::string_view config_json, const std::string& source);

}  // namespace lowkey
