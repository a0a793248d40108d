# tries: administer the machine: swap, accounting, quotas, terminals, old system calls
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

missing = b"/nonexistent/kaa"
arrives("swapon", missing, 0)
arrives("swapoff", missing)
arrives("acct", missing)
Q_GETFMT = 0x800004
arrives("quotactl", Q_GETFMT << 8, missing, 0, ctypes.create_string_buffer(64))
arrives("quotactl_fd", -1, Q_GETFMT << 8, 0, 0)
arrives("sysfs", 3)
arrives("ustat", os.stat("/").st_dev, ctypes.create_string_buffer(64))


def hang_up():
    os.setsid()  # so that there is no terminal
    arrives("vhangup")


in_child(hang_up)
finish()
