#pragma once

#include <span>
#include <string>
#include <string_view>

#include "formats/pickle.h"

namespace llamlx {

/// The longest pickle that is read: of a state dict, 500,000 tensors.
inline constexpr std::size_t kLargestPickle = std::size_t{64} << 20;

/// Reads one pickle as data. Python's pickles are programs that import names
/// and call them; here a name that is not of the allow-list is refused, and
/// calling one that is only writes the call down. Nothing is ever executed.
///
/// Layout   opcodes of one byte, each with its operand, for a machine with a
///          stack and a memo; protocols 1 to 5, of protocol 0 what needs no
///          escapes. `bytes` may go on after the pickle's end.
/// Limits   64 MiB of bytes, 2 million values, 8 million items of containers,
///          10000 open marks; so memory is bounded whatever the bytes say.
/// Errors   Error naming `subject`: unsupported with the name, for one that
///          `allowed` has not, in GLOBAL, STACK_GLOBAL and INST, and for calls
///          and states of anything else (REDUCE, NEWOBJ, OBJ, BUILD, EXT1,
///          EXT2, EXT4, PERSID), buffers kept elsewhere, and what only protocol
///          0 writes; corrupt_file for bytes that are no pickle or end early.
/// Threads  any.
/// Source   https://docs.python.org/3/library/pickletools.html, PEP 307, 3154
///          and 574
Pickle read_pickle(std::string_view bytes, const std::string& subject,
                   std::span<const PickleGlobal> allowed);

}  // namespace llamlx
