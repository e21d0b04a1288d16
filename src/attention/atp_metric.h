// The metric in which atp:form=factor measures what it loses of keys and values: by what of it reaches the layer's
// output. With y = [k | v] of all KV heads, keys before RoPE, an error e costs e^T M e, M in blocks, two to a KV head:
//   values  Wo^T Wo, the mean of the group's heads: a value's error goes through the output projection
//   keys    an error of a score moves the output by its part of Wo (v - mean v): E |Wo (v - mean v)|^2 / D times the
//           second moment of queries, Wq Wq^T for inputs that are alike in all directions, and alike in the two numbers
//           of a rotary pair, as distances to the queries are many. Half of that: what a row attends to is nearer to
//           what it gets than values are to their mean
// It follows from the weights and from the first tokens that are shortened.
#pragma once

#include <vector>

#include "attention/method.h"

namespace lowkey {

// Square root of M and its inverse, symmetric blocks [D, D] side by side: [D, N] each. Scaled so that |root (y -
// mean)|^2 is N in the mean.
struct MetricRoots {
  std::vector<float> root, inverse;
};
// y: [n, N], mean: [N]. Without an output projection as equal_metric.
MetricRoots output_metric(const LayerStep&, View y, const float* mean);
// M = 1: the largest part of K and V themselves.
MetricRoots equal_metric(const LayerStep&, View y, const float* mean);

}  // namespace lowkey
