# tries: read and list files of the machine and of the runner at their real paths
# strict: they do not exist in its root, or are refused
# basic: Landlock refuses them
# end: ok HELD

bridges = [os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, os.__file__)]


def strange_entries(path):
    """What is in a directory, without what leads to the interpreter."""
    return [n for n in os.listdir(path) if not any(b.startswith(os.path.join(path, n)) for b in bridges)]


def openat2(path):
    result, code = raw("openat2", AT_FDCWD, path.encode() + b"\0", struct.pack("QQQ", os.O_RDONLY, 0, 0), 24)
    if result < 0:
        raise OSError(code, os.strerror(code))
    os.close(result)


for path in (outside("file"), outside("private file"), "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/etc/fstab",
             "/etc/ssh/sshd_config", "/root/.bashrc", "/root/.profile", "/root/.ssh/authorized_keys", "/.dockerenv", "/.dockerinit",
             "/var/lib/dpkg/status", "/var/log/dpkg.log", "/var/run/secrets/kubernetes.io/serviceaccount/token",
             "/run/secrets/kubernetes.io/serviceaccount/token", "/etc/kubernetes/admin.conf", "/boot/vmlinuz"):
    works("read " + path, read, path, 1)
    works("openat2 " + path, openat2, path)
for path in (outside("dir"), outside("work dir"), "/root", "/home", "/var/log", "/var/lib", "/var/spool", "/boot", "/opt", "/srv", "/mnt",
             "/media", "/run", "/etc/ssh", "/tmp/..", "/dev/shm/..", "/lost+found"):
    if os.path.realpath(path) in ("/", "/dev"):
        continue
    finds("list " + path, strange_entries, path)
    finds("scan " + path, lambda: [e.name for e in os.scandir(path) if e.name in strange_entries(path)])
finish()
