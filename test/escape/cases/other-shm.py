# tries: open another execution's shared memory: POSIX, System V, message queues, semaphores
# strict: it has an ipc namespace and a /dev/shm of its own
# basic: Landlock refuses the files, seccomp refuses System V and message queues
# end: ok HELD

name = os.path.basename(victim("shm file"))
works("shm by name", lambda: os.close(os.open("/dev/shm/" + name, os.O_RDWR)))
librt = ctypes.CDLL("librt.so.1", use_errno=True) if os.path.exists("/usr/lib/%s-linux-gnu/librt.so.1" % MACHINE) else libc
for opener, flags in ((librt.shm_open, os.O_RDWR), (librt.mq_open, os.O_RDONLY), (librt.sem_open, 0)):
    ctypes.set_errno(0)
    result = opener(b"/" + name.encode(), flags, 0, 0)
    if result not in (-1, 0):
        escaped(opener.__name__)
key = HINTS.get("victim", {}).get("key") or 1
for function, arguments in ((libc.shmget, (key, 0, 0)), (libc.semget, (key, 0, 0)), (libc.msgget, (key, 0))):
    if function(*arguments) >= 0:
        escaped(function.__name__)
SHM_INFO, SHM_STAT, SHM_STAT_ANY = 14, 13, 15
buffer = ctypes.create_string_buffer(512)
for index in range(64):
    for action in (SHM_STAT, SHM_STAT_ANY):
        if libc.shmctl(index, action, buffer) >= 0:
            escaped("System V segment at %d" % index)
for kind in ("shm", "sem", "msg"):
    finds("list of " + kind, lambda: read("/proc/sysvipc/" + kind).strip().splitlines()[1:])
finds("others' names in /dev/shm", os.listdir, "/dev/shm")
finds("message queues", lambda: os.listdir("/dev/mqueue"))
finish()
