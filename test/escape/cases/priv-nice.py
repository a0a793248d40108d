# tries: run before others: nice -20, real-time and deadline scheduling, disk priority, latency
# strict: refused
# basic: refused
# end: ok HELD

works("nice -20", os.setpriority, os.PRIO_PROCESS, 0, -20)
works("nice -1", os.nice, -1 - max(os.nice(0), 0))
for name in ("SCHED_FIFO", "SCHED_RR"):
    policy = getattr(os, name)
    works(name, os.sched_setscheduler, 0, policy, os.sched_param(1))
    works(name + " reset on fork", os.sched_setscheduler, 0, policy | 0x40000000, os.sched_param(1))
arrives("sched_setattr", 0, struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7), 0, what="SCHED_DEADLINE")
result, code = raw("ioprio_set", 1, 0, 1 << 13)
if result == 0:
    escaped("real-time disk priority")
finish()
