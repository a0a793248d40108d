# tries: learn the runner's paths, users and host name from what the system tells about itself
# strict: nothing of them shows
# basic: not protected: there is no mount or uts namespace, so mounts and names of the host show
# end: ok HELD

host = os.uname().nodename
if host == HINTS.get("host"):
    escaped("host name " + host)
needles = [s.encode() for s in (outside("work dir"), outside("dir"), HINTS.get("host", "?" * 20)) if len(s) > 3]
for path in ("/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/mountstats", "/proc/self/maps", "/proc/self/cgroup", "/proc/self/environ",
             "/proc/self/cmdline", "/etc/passwd", "/etc/group", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/mtab", "/proc/cmdline",
             "/proc/keys", "/proc/locks", "/proc/net/unix", "/proc/net/tcp", "/proc/sys/kernel/hostname"):
    try:
        text = read(path)
    except OSError:
        continue
    for needle in needles:
        if needle in text:
            escaped("%s has %s" % (path, needle.decode()))
for line in read("/proc/self/cgroup").decode().splitlines():
    if not line.endswith(":/"):
        escaped("control group " + line)
if own_namespace("cgroup") is False:
    escaped("the host's cgroup namespace")
import pwd

people = [p.pw_name for p in pwd.getpwall() if p.pw_uid >= 1000 and p.pw_uid not in (65534, os.getuid())]
if people:
    escaped("users %s" % people)
finish()
