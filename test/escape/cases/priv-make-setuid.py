# tries: make programs that give rights to others: setuid files, foreign owners, device and capability attributes
# strict: no foreign owners, and its file systems are nosuid
# basic: no foreign owners, and no_new_privs
# end: ok HELD

shutil.copy("/bin/sh", "shell")
for user, group in ((0, 0), (0, -1), (-1, 0), (65534, 65534), (1, 1), (-1, 4), (1234, -1)):
    if user in (-1, os.getuid()) and group in (-1, os.getgid()):
        continue
    works("chown %d:%d" % (user, group), os.chown, "shell", user, group)
os.chmod("shell", 0o6755)
code, text = output("./shell", "-p", "-c", "cat /proc/self/status")
if code == 0:
    fields = dict(l.split(":\t", 1) for l in text.decode().splitlines() if ":\t" in l)
    if set(fields["Uid"].split()) != {str(os.getuid())} or int(fields["CapEff"], 16):
        escaped("setuid shell: %s" % fields["Uid"])
works("file capabilities", os.setxattr, "shell", "security.capability", struct.pack("IIIII", 0x02000001, 1 << 21, 0, 0, 0))
if HINTS.get("level") == "strict":
    for path in (".", "/tmp", "/dev/shm", "/usr", "/"):
        flags = os.statvfs(path).f_flag
        if not flags & os.ST_NOSUID:
            escaped(path + " is not nosuid")
        if not flags & 4:  # ST_NODEV
            escaped(path + " is not nodev")
finish()
