# tries: leave files behind wherever it can write, with names and modes that are hard to remove
# strict: its file systems end with it
# basic: its directories are removed with all that is in them
# end: ok HELD
# unsandboxed: held because its directories are removed at every level

for top in {".", tempfile.gettempdir(), os.environ.get("HOME", "."), "/dev/shm", "/tmp"}:
    if not own_namespace("mnt") and top in ("/dev/shm", "/tmp"):
        continue  # other-tmp tries these, and takes back what worked
    try:
        os.makedirs(os.path.join(top, LEFT, "a", "b"))
        for name in (LEFT, LEFT + "/a/b/x", LEFT + "\n", LEFT + "\udcff", "-rf", LEFT + "/" + "n" * 255):
            with open(os.path.join(top, name if name != LEFT else LEFT + "-file"), "w") as file:
                file.write("x")
        os.mkfifo(os.path.join(top, LEFT, "fifo"))
        os.symlink("/", os.path.join(top, LEFT, "root"))
        os.symlink(LEFT, os.path.join(top, LEFT, LEFT))
        if HINTS.get("level") != "basic":
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(os.path.join(top, LEFT, "s"))
        os.chmod(os.path.join(top, LEFT, "a", "b"), 0)
        os.chmod(os.path.join(top, LEFT, "a"), 0)
        os.chmod(os.path.join(top, LEFT), 0)
    except OSError as error:
        note(top, error)
finish()
