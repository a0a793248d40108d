# tries: handle its own page faults, which helps to win races in the kernel
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

UFFD_USER_MODE_ONLY = 1
arrives("userfaultfd", 0, close=True)
arrives("userfaultfd", UFFD_USER_MODE_ONLY, close=True, what="userfaultfd for user mode")
opens("/dev/userfaultfd", os.O_RDWR)
finish()
