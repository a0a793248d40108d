# tries: make or change files in the system's directories
# strict: a read-only root
# basic: Landlock refuses every write outside its own directories
# end: ok HELD

own = [os.path.realpath(p) for p in (".", tempfile.gettempdir(), os.environ.get("HOME", "."), "/tmp", "/dev/shm")]
for path in ("/", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/share", "/bin", "/sbin", "/lib", "/lib64", "/etc",
             "/etc/ssl", "/var", "/var/tmp", "/var/lib", "/var/log", "/var/lock", "/var/cache", "/opt", "/srv", "/home", "/root", "/run", "/run/lock",
             "/boot", "/mnt", "/media", "/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue", "/dev/hugepages", os.path.dirname(os.getcwd())):
    if os.path.isdir(path) and os.path.realpath(path) not in own:
        writable(path)
for path in ("/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/etc/ld.so.cache", "/etc/ld.so.preload", "/bin/sh", "/bin/ls", "/usr/bin/env",
             "/usr/lib/os-release", "/etc/localtime", "/etc/nsswitch.conf", "/etc/crontab", os.path.realpath("/bin/sh"), os.path.realpath("/lib")):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        opens(path, flags)
for path in ("/etc/hostname", "/usr/lib/os-release"):
    aside = path + "." + LEFT
    works("rename " + path, lambda: os.rename(os.rename(path, aside) or aside, path))
finish()
