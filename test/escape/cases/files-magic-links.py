# tries: reach other processes' roots, directories, programs and open files through /proc
# strict: its /proc shows nobody else
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
        try:
            entries = os.listdir(base + "/" + name)
        except OSError:
            continue
        # That there are such numbers is no secret, what they are is.
        for entry in entries:
            works("name %s/%s/%s" % (base, name, entry), os.readlink, "%s/%s/%s" % (base, name, entry))
# A container once overwrote the program that had started it in this way. Here it
# runs, so that the kernel refuses first; files-poison-python tries the file itself.
for path in ("/proc/self/exe", "/proc/%d/exe" % os.getppid(), "/proc/thread-self/exe"):
    opens(path, os.O_WRONLY)
finish()
