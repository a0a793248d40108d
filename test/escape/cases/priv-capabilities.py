# tries: have or regain capabilities: capset, ambient, inheritable, securebits, by exec
# strict: none, in no set
# basic: none, in no set
# end: ok HELD

PR_CAP_AMBIENT, PR_SET_SECUREBITS, PR_SET_KEEPCAPS = 47, 28, 8


def check(status, who):
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
        # An unprivileged runner cannot lower the bounding set, and no_new_privs makes it moot.
        if name == "CapBnd" and HINTS.get("level") == "basic":
            continue
        if int(status[name], 16):
            escaped("%s of %s is %s" % (name, who, status[name]))


check(status_of("self"), "the worker")
header = struct.pack("Ii", 0x20080522, 0)
for bits in (2**32 - 1, 1 << 21, 1 << 12, 1):
    for sets in ((bits, bits, bits), (bits, bits, 0), (0, bits, 0), (0, 0, bits)):
        ctypes.set_errno(0)
        if libc.capset(header, struct.pack("6I", *sets, 0, 0, 0)) == 0:
            escaped("capset %s" % (sets,))
for capability in range(41):
    if libc.prctl(PR_CAP_AMBIENT, 2, capability, 0, 0) == 0:
        escaped("ambient %d" % capability)
in_child(lambda: libc.prctl(PR_SET_SECUREBITS, 0x2F, 0, 0, 0) == 0 and escaped("securebits"))
libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
code, text = output(sys.executable, "-I", "-S", "-c", "print(open('/proc/self/status').read())")
if code != 0:
    raise RuntimeError("no status after exec: %r" % text)
check(dict(l.split(":\t", 1) for l in text.decode().splitlines() if ":\t" in l), "a program")
for name in ("security.capability", "security.kaa", "trusted.kaa", "system.posix_acl_access"):
    with open("plain", "w"):
        pass
    if not name.startswith("system"):
        works("setxattr " + name, os.setxattr, "plain", name, struct.pack("IIIII", 0x02000001, 1 << 21, 0, 0, 0))
finish()
