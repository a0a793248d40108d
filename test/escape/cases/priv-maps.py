# tries: give itself other ids by the files of its user namespace
# strict: they can be written once, and were
# basic: not its own namespace
# end: ok HELD

def put(name, text):
    fd = os.open("/proc/self/" + name, os.O_WRONLY)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


for name, text in (("uid_map", b"0 0 1"), ("uid_map", b"0 1000 1"), ("gid_map", b"0 0 1"), ("gid_map", b"0 1000 1"), ("setgroups", b"allow"),
                   ("projid_map", b"0 0 1")):
    works("%s %s" % (name, text.decode()), put, name, text)
for name in ("attr/current", "attr/exec"):
    works(name, put, name, b"unconfined")
finish()
