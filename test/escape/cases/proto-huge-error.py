# tries: burst the report of its end by enormous exceptions
# strict: clipped
# basic: clipped
# end: error | exit MemoryLimitExceeded
# timeout: 120
# unsandboxed: held because reports are bounded at every level

class Monster(Exception):
    def __str__(self):
        return "\U0001F40D\udc80\0" * (1 << 20)


Monster.__name__ = "M" * (5 << 20)
error = None
for i in range(100):
    try:
        raise Monster("x" * 1000) from error
    except Monster as e:
        error = e
raise error
