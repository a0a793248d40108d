# tries: read, list, change and remove files of another execution that runs at the same time
# strict: they are in another mount namespace
# basic: Landlock refuses
# end: ok HELD

for path in (victim("file"), victim("tmp file"), victim("shm file")):
    works("read " + path, read, path)
    opens(path, os.O_WRONLY)
    opens(path, os.O_RDWR | os.O_APPEND)
    works("link " + path, lambda: os.unlink(os.link(path, "stolen") or "stolen"))
    works("move " + path, lambda: os.rename(os.rename(path, path + ".moved") or path + ".moved", path))
works("list", os.listdir, victim("dir"))
works("create", lambda: os.unlink(os.path.join(victim("dir"), LEFT)) if open(os.path.join(victim("dir"), LEFT), "w") else None)
# Without hints: everywhere a file of somebody else may lie.
for top in ("..", "../..", "/work", "/tmp", "/var/tmp", "/dev/shm", "/run", outside("work dir")):
    if os.path.realpath(top) == "/":
        continue
    for where, dirs, files in os.walk(top):
        if where.count("/") > 8:
            dirs[:] = []
        for name in files:
            try:
                fd = os.open(os.path.join(where, name), os.O_RDONLY | os.O_NONBLOCK)
                data = os.read(fd, 4096)
                os.close(fd)
            except OSError:
                continue
            if SECRET.search(data):
                escaped("secret in " + os.path.join(where, name))
finish()
