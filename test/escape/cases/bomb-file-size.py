# tries: make one enormous file, with holes and without
# strict: refused at the limit
# basic: refused at the limit
# end: ok HELD | exit MemoryLimitExceeded
# limits: {"diskBytes": 67108864}
# unsandboxed: either because the size may be limited at every level

fd = os.open("hole", os.O_CREAT | os.O_RDWR, 0o600)
works("a file of 1 TB", os.ftruncate, fd, 1 << 40)
works("a byte at 1 TB", os.pwrite, fd, b"x", 1 << 40)
works("16 GB by fallocate", os.posix_fallocate, fd, 0, 1 << 34)
os.close(fd)
os.unlink("hole")
finish()
