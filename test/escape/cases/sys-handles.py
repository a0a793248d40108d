# tries: open files by handle, past every directory, as the escape called Shocker did
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

mount_id = ctypes.create_string_buffer(8)
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
for path in (b"/", b".", b"/usr", b"/etc/passwd", b"/proc"):
    arrives("name_to_handle_at", AT_FDCWD, path, handle, mount_id, 0, what="name_to_handle_at " + path.decode())
for path in ("/", ".", "/usr"):
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        continue
    for kind, number in ((1, 2), (1, 128), (0x81, 256)):  # the root of ext4, of XFS
        handle = ctypes.create_string_buffer(struct.pack("Ii", 8, kind) + struct.pack("II", number, 0), 136)
        arrives("open_by_handle_at", fd, handle, 0, what="open_by_handle_at", close=True)
    os.close(fd)
finish()
