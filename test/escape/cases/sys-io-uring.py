# tries: set up io_uring, whose requests a system call filter does not see
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

arrives("io_uring_setup", 1, ctypes.create_string_buffer(120), close=True)
arrives("io_uring_setup", 0, 0, what="io_uring_setup without anything")
arrives(426, -1, 0, 0, 0, 0, 0, what="io_uring_enter")
arrives(427, -1, 0, 0, 0, what="io_uring_register")
finish()
