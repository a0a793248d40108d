# tries: take the huge pages that the machine has set aside, which no limit of memory counts: mapped, as memfd, as System V segments
# strict: refused, as if there were none
# basic: refused, as if there were none
# end: ok HELD
# limits: {"memoryBytes": 134217728}

MAP_HUGETLB, MFD_HUGETLB, SHM_HUGETLB, SIZE = 0x40000, 4, 0o4000, 2 << 20
MAP_FAILED = ctypes.c_void_p(-1).value
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
for log in (0, 21, 30):  # the default size, 2 MB, 1 GB
    for kind in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        flags = kind | mmap.MAP_ANONYMOUS | MAP_HUGETLB | log << 26
        address = libc.mmap(None, 1 << max(21, log), 3, flags, -1, 0)
        if address not in (None, MAP_FAILED):
            libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(1 << max(21, log)))
            escaped("mapped with flags %#x" % flags)
    # Of these, too, none is taken before it is written to.
    for flags in (MFD_HUGETLB | log << 26, MFD_HUGETLB | log << 26 | 1 << 32):
        fd, code = raw("memfd_create", b"kaa\0", flags)
        if fd >= 0:
            os.close(fd)
            escaped("memfd with flags %#x" % flags)
    number, code = raw("shmget", 0, SIZE, 0o1600 | SHM_HUGETLB | log << 26)
    if number >= 0:
        libc.shmctl(number, 0, 0)
        escaped("segment with flags %#x" % (SHM_HUGETLB | log << 26))
finish()
