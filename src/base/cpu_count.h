#pragma once

namespace llamlx {

/// How many processors this process may keep busy.
struct CpuCount {
  int online = 1;    ///< of the machine
  int allowed = 1;   ///< by the affinity mask (taskset, cpusets)
  double quota = 0;  ///< by the control group, in processors; 0: no limit
  int usable = 1;    ///< what is left of it all, at least 1
};

CpuCount cpu_count();

}  // namespace llamlx
