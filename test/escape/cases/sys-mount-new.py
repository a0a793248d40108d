# tries: mount with the new system calls: fsopen, fsconfig, fsmount, fspick, open_tree, move_mount, mount_setattr, statmount
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

OPEN_TREE_CLONE, AT_RECURSIVE, AT_EMPTY_PATH = 1, 0x8000, 0x1000
for kind in (b"tmpfs", b"proc", b"overlay", b"ramfs"):
    arrives("fsopen", kind, 0, what="fsopen " + kind.decode(), close=True)
arrives("fspick", AT_FDCWD, b"/", 0, close=True)
arrives("fsconfig", -1, 6, 0, 0, 0)
arrives("fsmount", -1, 0, 0)
for path in (b"/", b".", b"/proc"):
    arrives("open_tree", AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE, what="open_tree " + path.decode(), close=True)
    arrives("open_tree", AT_FDCWD, path, 0, what="open_tree without a copy of " + path.decode(), close=True)
    arrives("open_tree_attr", AT_FDCWD, path, 0, 0, 0, what="open_tree_attr without a copy of " + path.decode(), close=True)
    arrives("open_tree_attr", AT_FDCWD, path, OPEN_TREE_CLONE, 0, 0, what="open_tree_attr " + path.decode(), close=True)
arrives("move_mount", -1, b"", AT_FDCWD, b"/nonexistent/kaa", 4)
arrives("mount_setattr", AT_FDCWD, b"/nonexistent/kaa", 0, bytes(32), 32)
arrives("mount_setattr", -1, b"", AT_EMPTY_PATH, bytes(32), 32, what="mount_setattr of a descriptor")
arrives("statmount", struct.pack("IIQQQ", 24, 0, 1, 1, 0), ctypes.create_string_buffer(512), 512, 0)
arrives("listmount", struct.pack("IIQQQ", 24, 0, 2**64 - 1, 0, 0), ctypes.create_string_buffer(512), 64, 0)
finish()
