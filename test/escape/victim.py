# The execution that the others attack. It holds one of everything, waits, and says
# at its end whether somebody touched it. The test puts kit.py in front of it.
names = HINTS["victim"]
secret = os.environ["VICTIM_SECRET"].encode()
touched = []

paths = ["precious", os.path.join(tempfile.gettempdir(), "precious"), names["shm file"]]
for path in list(paths):
    try:
        with open(path, "wb") as file:
            file.write(secret)
    except OSError:  # there is no /dev/shm for it
        paths.remove(path)


def listen(family, address):
    """Tell whoever connects the secret, and remember it."""
    try:
        s = socket.socket(family, socket.SOCK_STREAM)
        s.bind(address)
        s.listen(5)
    except OSError:
        return

    def serve():
        while True:
            c, _ = s.accept()
            touched.append("connection to %r" % (address,))
            try:
                c.send(secret)
                c.close()
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()


listen(socket.AF_UNIX, "\0" + names["abstract"])
listen(socket.AF_UNIX, "victim.sock")
listen(socket.AF_INET, ("127.0.0.1", names["port"]))
segment = libc.shmget(names["key"], 4096, 0o1600)
if segment >= 0:
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(segment, None, 0)
    ctypes.memmove(address, secret, len(secret))
for number in range(1, 65):
    if number not in (signal.SIGINT, signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
        try:
            signal.signal(number, lambda n, _: touched.append("signal %d" % n))
        except (OSError, ValueError):
            pass
print("holding", flush=True)
libc.prctl(15, b"kaa-victim", 0, 0, 0)
try:
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    pass
for path in paths:
    try:
        if read(path) != secret:
            touched.append("contents of " + path)
    except OSError as error:
        touched.append("%s: %s" % (path, error))
if segment >= 0:
    if ctypes.string_at(address, len(secret)) != secret:
        touched.append("shared memory")
    libc.shmctl(segment, 0, 0)
    libc.shmdt(ctypes.c_void_p(address))
for path in paths[2:]:
    os.unlink(path)
print("TOUCHED " + "; ".join(touched) if touched else "INTACT", flush=True)
