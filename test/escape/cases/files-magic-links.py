# tries: reach other processes' roots, directories, programs and open files through /proc
# strict: its /proc shows nobody else but its supervisor, which is out of reach
# basic: Landlock refuses
# end: ok HELD

def link(path, *rest):
    """Follow a magic link; being told that there is none is as good."""
    return read(os.path.join(path, *rest), 16)


for pid in strangers():
    base = "/proc/%d" % pid
    for name in ("root", "cwd"):
        works("list %s/%s" % (base, name), os.listdir, base + "/" + name)
        works("name %s/%s" % (base, name), os.readlink, base + "/" + name)
        works("file in %s/%s" % (base, name), link, base, name, outside("file").lstrip("/"))
    works("%s/exe" % base, link, base + "/exe")
    for name in ("mnt", "net", "pid", "user", "uts", "ipc", "cgroup"):
        works("name %s/ns/%s" % (base, name), os.readlink, base + "/ns/" + name)
        opens(base + "/ns/" + name)
    for name in ("fd", "fdinfo", "map_files"):
        for entry in finds("list %s/%s" % (base, name), os.listdir, base + "/" + name) or ():
            works("name %s/%s/%s" % (base, name, entry), os.readlink, "%s/%s/%s" % (base, name, entry))
# The way in which a container once overwrote the program that had started it.
for path in ("/proc/self/exe", "/proc/1/exe", "/proc/%d/exe" % os.getppid(), "/proc/thread-self/exe"):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        if error.errno == errno.ETXTBSY:
            escaped("%s may be written to once it has ended" % path)
        continue
    escaped("write to " + path)
finish()
