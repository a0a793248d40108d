# tries: change its personality: no address randomisation, executable data, 32 bits
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

for name, persona in (("ADDR_NO_RANDOMIZE", 0x0040000), ("READ_IMPLIES_EXEC", 0x0400000), ("MMAP_PAGE_ZERO", 0x0100000), ("PER_LINUX32", 8),
                      ("UNAME26", 0x0020000), ("ADDR_COMPAT_LAYOUT", 0x0200000)):
    in_child(lambda: arrives("personality", persona, what=name))
    in_child(lambda: arrives("personality", persona | 1 << 32, what=name + " and a high bit"))
code, text = output("setarch", "-R", "true")
if code == 0:
    escaped("setarch")
finish()
