# tries: open performance counters, of itself and of the machine
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

PERF_TYPE_SOFTWARE, SIZE = 1, 112
software = struct.pack("IIQQQQ", PERF_TYPE_SOFTWARE, SIZE, 0, 0, 0, 0).ljust(SIZE, b"\0")
user_only = software[:40] + struct.pack("Q", 1 << 5 | 1 << 6) + software[48:]  # without kernel and hypervisor
arrives("perf_event_open", software, 0, -1, -1, 0, close=True)
arrives("perf_event_open", user_only, 0, -1, -1, 0, close=True, what="perf_event_open for user code")
arrives("perf_event_open", software, -1, 0, -1, 0, close=True, what="perf_event_open for a processor")
finish()
