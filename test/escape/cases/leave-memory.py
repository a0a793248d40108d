# tries: leave shared memory behind: POSIX, System V segments, semaphores and queues, memfd, message queues
# strict: its ipc namespace and its file systems end with it
# basic: seccomp refuses what outlives a process
# end: ok HELD

key = (HINTS.get("victim", {}).get("key") or 0x6B616100) + 0x100
IPC_CREAT, IPC_RMID = 0o1000, 0
for what, make, remove in (
        ("System V segment", lambda: libc.shmget(key, 65536, IPC_CREAT | 0o600), lambda i: libc.shmctl(i, IPC_RMID, 0)),
        ("System V semaphores", lambda: libc.semget(key, 1, IPC_CREAT | 0o600), lambda i: libc.semctl(i, 0, IPC_RMID)),
        ("System V queue", lambda: libc.msgget(key, IPC_CREAT | 0o600), lambda i: libc.msgctl(i, IPC_RMID, 0))):
    made = make()
    if made >= 0 and not own_namespace("ipc"):
        escaped(what)
        remove(made)
attributes = ctypes.create_string_buffer(struct.pack("4l", 0, 1, 8, 0), 64)
fd, _ = raw("mq_open", LEFT.encode(), os.O_CREAT | os.O_RDWR, 0o600, attributes)
if fd >= 0:
    os.close(fd)
    if not own_namespace("ipc"):
        escaped("message queue")
        raw({"x86_64": 241, "aarch64": 181}[MACHINE], LEFT.encode())
raw("memfd_create", LEFT.encode(), 0)
for path in ("/dev/shm", "/dev/mqueue", "/dev/hugepages"):
    if not own_namespace("ipc") and os.path.isdir(path):
        writable(path)
finish()
