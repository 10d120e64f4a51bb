#include "formats/lfs_pointer.h"

#include "base/error.h"

namespace llamlx {

void refuse_lfs_pointer(const MappedFile& file) {
  if (!file.text().starts_with("version https://git-lfs")) return;
  fail(ErrorCode::corrupt_file, file.path().string(),
       "is a Git LFS pointer, not the weights themselves",
       "run git lfs pull in that folder");
}

}  // namespace llamlx
