# tries: learn what others have read, by which pages of shared files are in memory, and make the machine forget them
# strict: seccomp refuses what asks, and does nothing for what would make it forget
# basic: seccomp refuses what asks, and does nothing for what would make it forget
# end: ok HELD

RWF_NOWAIT, DONTNEED, MADV_PAGEOUT = 8, 4, 21


def in_memory(fd, size):
    """How many bytes of a file can be had at once, by mapping it: a page that is there is mapped with its neighbours."""
    with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        mapped[0]
        with open("/proc/self/smaps") as smaps:
            inode, found = str(os.fstat(fd).st_ino), 0
            for line in smaps:
                words = line.split()
                if len(words) > 4 and words[4] == inode and "-" in words[0]:
                    found = 1
                elif found and words[0] == "Rss:":
                    return int(words[1]) << 10
    return 0


path = os.path.join(os.path.dirname(os.__file__), "_pydecimal.py")
fd = os.open(path, os.O_RDONLY)
size = os.fstat(fd).st_size
os.pread(fd, size, 0)
buffer = ctypes.create_string_buffer(1)
piece = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(buffer), 1), 16)
for flags in (RWF_NOWAIT, RWF_NOWAIT | 1, RWF_NOWAIT | 1 << 32):
    arrives("preadv2", fd, piece, 1, 0, 0, flags, held=(errno.EOPNOTSUPP,), what="preadv2 with flags %#x" % flags)
arrives("cachestat", fd, struct.pack("QQ", 0, 0), ctypes.create_string_buffer(40), 0)
with mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    arrives("mincore", start, size, ctypes.create_string_buffer(size // mmap.PAGESIZE + 1))
    arrives("madvise", start, mmap.PAGESIZE, MADV_PAGEOUT, held=(errno.EINVAL,), what="MADV_PAGEOUT")
before = in_memory(fd, size)
os.posix_fadvise(fd, 0, 0, DONTNEED)
if in_memory(fd, size) < before:
    escaped("the machine has forgotten " + path)
finish()
