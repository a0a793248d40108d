# tries: reach the hardware: iopl, ioperm, modify_ldt
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

in_child(lambda: arrives("iopl", 3))
in_child(lambda: arrives("ioperm", 0x80, 1, 1))
in_child(lambda: arrives("modify_ldt", 0, ctypes.create_string_buffer(64), 64))
in_child(lambda: arrives("modify_ldt", 1, struct.pack("IIII", 0, 0, 0xFFFFF, 0x51), 16, what="modify_ldt, write"))
opens("/dev/port", os.O_RDWR)
finish()
