# tries: leave mounts and namespaces behind, held by a process that runs away
# strict: none can be made
# basic: none can be made
# end: ok HELD

def hold():
    os.setsid()
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    made = False
    for flags in (CLONE_FLAGS["NEWUSER"] | CLONE_FLAGS["NEWNS"], CLONE_FLAGS["NEWNS"], CLONE_FLAGS["NEWNET"], CLONE_FLAGS["NEWIPC"]):
        made = raw("unshare", flags)[0] == 0 or made
    if made:
        escaped("namespaces")
        os.makedirs("m", exist_ok=True)
        if raw("mount", b"none", b"m", b"tmpfs", 0, 0)[0] == 0:
            escaped("a mount")


in_child(hold)
for pid in range(4):
    code, text = output("unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt && echo mounted")
    if b"mounted" in text:
        escaped("a mount by unshare")
        break
finish()
