# tries: find the runner's secrets in the worker's own memory, in case it was forked from something that knew them
# strict: what forks workers never knew them
# basic: what forks workers never knew them
# end: ok HELD
# unsandboxed: held because the interpreter is started without them at every level

canary = b"kaa-" + b"canary-" + os.urandom(8).hex().encode()
pattern = re.compile(SECRET.pattern + rb"|redi[s]s?://[0-9a-z]|KAA[_]REDIS[_]URL|KAA[_]TEST[_]SECRET")
hits, seen, own = set(), False, []
memory = None
try:
    memory = open("/proc/self/mem", "rb", buffering=0)
except OSError as error:
    note("no /proc/self/mem", error)
for line in open("/proc/self/maps"):
    span, rights = line.split()[:2]
    low, high = (int(x, 16) for x in span.split("-"))
    if "r" not in rights or "[vvar" in line or "[vsyscall]" in line or high - low > 1 << 28:
        continue
    for at in range(low, high, 1 << 20):
        size = min((1 << 20) + 128, high - at)
        try:
            if memory:
                memory.seek(at)
                data = memory.read(size)
            elif line.rstrip().endswith("]") or "/" not in line:  # a file may be shorter than its mapping
                data = ctypes.string_at(at, size)
            else:
                continue
        except OSError:
            continue
        seen = seen or canary in data
        hits.update(pattern.findall(data))
        del data
if not seen:
    raise RuntimeError("the search does not find what is there")
# What this search itself left in memory is not a find; the secrets are no part of it.
for hit in hits:
    escaped(hit.decode())
finish()
