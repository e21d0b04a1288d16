// spec_labels: short names for attention specs in charts. What all specs of a report say alike is said once, not in
// every label; and specs that differ only in how many tokens they read form one line.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace lowkey::cli {

// "loki:k=1/8,index=pq:64+h2o:heavy=256": the name, its settings in order, and "+h2o:heavy=256".
struct SpecParts {
  std::string name;
  std::vector<std::pair<std::string, std::string>> settings;
  std::string rest;

  const std::string* find(const std::string& key) const;  // null: not set
  std::string text() const;
};
SpecParts split_spec(const std::string& spec);

class SpecLabels {
 public:
  SpecLabels() = default;
  explicit SpecLabels(std::span<const std::string> specs);

  std::string label(const std::string& spec) const;     // without what all have alike
  std::string family(const std::string& spec) const;    // and without k: a line over k
  std::string by_index(const std::string& spec) const;  // without the size of the index: a line over it
  std::string common() const;                           // "sink=4, recent=64", or ""

 private:
  SpecParts shortened(const std::string& spec) const;
  std::vector<std::pair<std::string, std::string>> common_;
};

// The part of a sequence that k says, NaN when it says nothing: k=1/8, k=0.125, or a count of so many tokens.
double share_of_k(const std::string& spec, double context);
// k as it was written, the default of methods that rank, or "".
std::string text_of_k(const std::string& spec);

}  // namespace lowkey::cli
