#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "llamlx/llamlx.h"
#include "model_facts.h"

namespace llamlx {

/// What `generate --json` measured of one model, run after run.
struct ModelRuns {
  ModelFacts facts;
  std::vector<Json> documents;  ///< one a run, at least one

  /// The middle one of the runs' values; the mean of the middle two.
  double median(const char* key) const;
  /// (largest - smallest) / median; 0 when the median is.
  double spread(const char* key) const;
  const Json& first() const { return documents.front(); }
};

/// All that `llamlx compare` has to tell.
struct CompareReport {
  ModelRuns a, b;
  std::string prompt;         ///< "": token ids were given
  std::string compared_text;  ///< what it is, in words
  Comparison comparison;
};

/// B's value over A's; empty when that has no meaning.
std::optional<double> ratio(double a, double b);

/// How many tokens both answers begin with.
std::size_t common_tokens(const CompareReport& report);

/// For programs: one document, keys documented by `llamlx compare --help`.
Json to_json(const CompareReport& report);

/// For people: a table, the two texts, and how far the models are apart.
std::string format_report(const CompareReport& report);

}  // namespace llamlx
