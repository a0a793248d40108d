# tries: mount, bind, move, remount and unmount with the old system calls
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE, MNT_DETACH = 32, 4096, 8192, 16384, 1 << 18, 2
os.makedirs("m", exist_ok=True)
here = os.fsencode(os.path.realpath("m"))
for kind in (b"tmpfs", b"proc", b"sysfs", b"devpts", b"mqueue", b"cgroup", b"cgroup2", b"overlay", b"ramfs", b"debugfs", b"bpf", b"fuse", b"binfmt_misc", b"ext4"):
    if arrives("mount", b"none\0", here, kind, 0, b"", what="mount " + kind.decode()):
        raw("umount2", here, MNT_DETACH)
for source in (b"/", b"/proc", b"/usr", b"/dev", here):
    if arrives("mount", source, here, 0, MS_BIND, 0, what="bind " + source.decode()):
        raw("umount2", here, MNT_DETACH)
for target in (b"/nonexistent/kaa", here):
    arrives("mount", b"none", target, 0, MS_REMOUNT | MS_BIND, 0, what="remount")
    arrives("mount", here, target, 0, MS_MOVE, 0, what="move")
    arrives("mount", 0, target, 0, MS_REC | MS_PRIVATE, 0, what="propagation")
    arrives("umount2", target, MNT_DETACH, what="unmount")
if own_namespace("mnt"):  # the sandbox's own, so that no more than the sandbox is spoilt
    for target in (b"/", b"/work", b"/tmp", b"/proc", b"/usr", b"/dev/null", b"/etc"):
        arrives("mount", b"none", target, 0, MS_REMOUNT | MS_BIND, 0, what="remount " + target.decode())
        arrives("mount", b"none", target, 0, MS_REMOUNT, b"size=10g", what="enlarge " + target.decode())
        arrives("umount2", target, MNT_DETACH, what="unmount " + target.decode())
finish()
