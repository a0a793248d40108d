# tries: set the clock
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

buffer = ctypes.create_string_buffer(256)
arrives("settimeofday", struct.pack("qq", -1, -1), 0)
arrives("settimeofday", 0, struct.pack("ii", 10**6, 10**6), what="settimeofday, time zone")
arrives("clock_settime", 0, struct.pack("qq", -1, -1))
arrives("clock_settime", 0, struct.pack("qq", 0, 10**10), what="clock_settime with a wrong time")
ADJ_TICK, WRONG = 0x4000, 1
for name, arguments in (("adjtimex", ()), ("clock_adjtime", (0,))):
    # A tick far from what the kernel allows.
    data = ctypes.create_string_buffer(struct.pack("I4x", ADJ_TICK).ljust(88, b"\0") + struct.pack("q", WRONG), 256)
    arrives(name, *arguments, data)
for path in ("/dev/rtc", "/dev/rtc0", "/dev/ptp0"):
    opens(path)
works("clock_settime of Python", time.clock_settime, time.CLOCK_REALTIME, -1)
finish()
