#include "generate/finite.h"

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {

void fail_not_finite(const Decoder& decoder) {
  const auto dtype = to_string(decoder.weights().norm.dtype());
  const auto parameter = first_not_finite(decoder.weights(), decoder.config());
  if (parameter) {
    fail(ErrorCode::not_finite, *parameter,
         concat("holds NaN or infinite values in ", dtype,
                ", so nothing the model says has a meaning"),
         dtype == "float16" ? "try --dtype float32, or download or convert the "
                              "model again"
                            : "download or convert the model again");
  }
  fail(ErrorCode::not_finite, "the model",
       concat("computes NaN or infinite logits in ", dtype,
              " from weights that are finite"),
       dtype == "float16" ? "use another compute type: --dtype float32"
                          : "see whether its config.json belongs to it");
}

}  // namespace llamlx
