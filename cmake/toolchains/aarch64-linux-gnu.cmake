# 64-bit ARM, by Debian's cross compiler, and its programs by QEMU's emulation
# (packages g++-aarch64-linux-gnu and qemu-user).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# All there is, but for SVE and SME: the C library would use them, and they are
# slow to emulate.
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu max,sve=off,sme=off)
