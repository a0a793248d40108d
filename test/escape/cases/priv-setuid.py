# tries: gain rights by programs that have them: su, mount, passwd, newgrp, sudo, newuidmap, ping and whatever else is setuid
# strict: no_new_privs and nosuid: they run without rights
# basic: no_new_privs: they run without rights
# end: ok HELD
# timeout: 60

me = os.geteuid()
os.makedirs("m", exist_ok=True)
for what, argv in (
        ("su", ("su", "-s", "/bin/sh", "-c", "id -u", "root")), ("su nobody", ("su", "-s", "/bin/sh", "-c", "id -u", "nobody")),
        ("sudo", ("sudo", "-n", "id", "-u")), ("pkexec", ("pkexec", "id", "-u")), ("doas", ("doas", "-n", "id", "-u")),
        ("mount", ("mount", "-t", "tmpfs", "none", "m")), ("umount", ("umount", "-l", "m")), ("newgrp", ("sg", "daemon", "-c", "id -u")),
        ("setpriv", ("setpriv", "--reuid", "1234", "id", "-u")), ("chage", ("chage", "-l", "root")),
        ("fusermount", ("fusermount", "-u", "m")), ("crontab", ("crontab", "-l")),
        ("nsenter", ("nsenter", "-t", "1", "-m", "id", "-u")), ("runuser", ("runuser", "-u", "nobody", "id"))):
    code, text = output(*argv)
    if code == 0:
        escaped("%s: %.60r" % (what, text))
        if what == "mount":
            output("umount", "m")
seen = set()
for top in ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib", "/usr/local/bin", "/usr/libexec"):
    for where, _, names in os.walk(top):
        if where.count("/") > 5:
            continue
        for name in names:
            path = os.path.join(where, name)
            try:
                st = os.lstat(path)
            except OSError:
                continue
            if not stat.S_ISREG(st.st_mode) or not st.st_mode & (stat.S_ISUID | stat.S_ISGID) or (st.st_dev, st.st_ino) in seen:
                continue
            seen.add((st.st_dev, st.st_ino))
            # The ids that a process of this program has.
            try:
                process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                           start_new_session=True)
            except OSError:
                continue
            try:
                fields = status_of(process.pid)
                if fields["Uid"].split()[1] != str(me) or fields["Gid"].split()[1] != str(os.getegid()):
                    escaped("%s runs as %s" % (path, fields["Uid"].split()))
                if int(fields["CapEff"], 16):
                    escaped("%s has capabilities" % path)
            except (OSError, KeyError):
                pass
            process.kill()
            process.wait()
            process.stdin.close()
finish()
