# tries: read memory, environment, descriptors and directories of another execution, and trace it
# strict: it has another pid namespace
# basic: Landlock and seccomp refuse
# end: ok HELD

pid = HINTS.get("pids", {}).get("victim") or 4000000
base = "/proc/%d/" % pid
for name in ("environ", "maps", "mem", "auxv", "stack"):
    finds(name, lambda: bool(read(base + name, 1)))
for name in ("cwd", "root", "map_files"):
    finds("list " + name, os.listdir, base + name)
for fd in range(64):
    works("descriptor %d" % fd, lambda: os.close(os.open(base + "fd/%d" % fd, os.O_RDONLY | os.O_NONBLOCK)))
works("its file by its root", read, base + "root" + victim("file"))
works("its file by its directory", read, base + "cwd/" + os.path.basename(victim("file")))
buffer = ctypes.create_string_buffer(8)
local = struct.pack("PP", ctypes.addressof(buffer), 8)
arrives("process_vm_readv", pid, local, 1, local, 1, 0, held=(errno.ESRCH,))
arrives("ptrace", 0x4206, pid, 0, 0, held=(errno.ESRCH,))
fd = raw("pidfd_open", pid, 0)[0]
if fd >= 0:
    for number in range(8):
        arrives("pidfd_getfd", fd, number, 0, what="pidfd_getfd %d" % number, close=True)
finish()
