# tries: find names of other executions in /tmp, /var/tmp, /dev/shm and beside its own directories, and lay traps there
# strict: private
# basic: Landlock refuses to list or to write there
# end: ok HELD

own = {os.path.realpath(p) for p in (os.getcwd(), tempfile.gettempdir(), os.environ.get("HOME", "."))}
for path in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/run/user", os.path.dirname(os.getcwd()), os.path.dirname(os.path.dirname(os.getcwd())),
             os.path.dirname(os.path.dirname(os.path.dirname(os.getcwd()))), outside("work dir")):
    if os.path.realpath(path) in own | {"/"} or not os.path.isdir(path):
        continue
    others = lambda: [n for n in os.listdir(path) if not any(o.startswith(os.path.join(os.path.realpath(path), n)) for o in own)]
    if own_namespace("mnt") and path in ("/tmp", "/dev/shm"):
        finds("names in " + path, lambda: [n for n in others() if not n.startswith("tmp")])
        continue
    finds("names in " + path, others)
    writable(path)
finish()
