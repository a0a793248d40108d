# tries: change its root: chroot and pivot_root
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

os.makedirs("jail/old", exist_ok=True)
in_child(lambda: arrives("chroot", b"jail"))
in_child(lambda: arrives("chroot", b"/proc/self/root", what="chroot through /proc"))
in_child(lambda: arrives("pivot_root", b"jail", b"jail/old"))
in_child(lambda: arrives("pivot_root", b".", b"."))
code, text = output("chroot", "/", "id", "-u")
if code == 0:
    escaped("chroot, the program: %r" % text)
finish()
