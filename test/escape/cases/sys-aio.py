# tries: use up the machine's asynchronous operations, of which all users together have some
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

context = (ctypes.c_ulong * 1)()
if arrives("io_setup", 64, context):
    raw("io_destroy", context[0])
arrives("io_setup", 0, 0, what="io_setup without anything")
for name in ("io_destroy", "io_submit", "io_getevents", "io_pgetevents", "io_cancel"):
    arrives(name, 0, 0, 0, 0, 0, 0)
finish()
