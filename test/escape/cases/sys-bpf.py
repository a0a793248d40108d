# tries: load BPF programs and make maps
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_PROG_GET_NEXT_ID, BPF_BTF_GET_FD_BY_ID = 0, 5, 11, 19
arrives("bpf", BPF_MAP_CREATE, struct.pack("IIIII", 2, 4, 4, 1, 0).ljust(128, b"\0"), 72, what="make a map", close=True)
code = struct.pack("BBhi", 0xB7, 0, 0, 0) + struct.pack("BBhi", 0x95, 0, 0, 0)
program, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
attributes = struct.pack("IIQQ", 1, 2, ctypes.addressof(program), ctypes.addressof(license))
arrives("bpf", BPF_PROG_LOAD, attributes.ljust(128, b"\0"), 48, what="load a program", close=True)
arrives("bpf", BPF_PROG_GET_NEXT_ID, bytes(128), 12, what="list programs")
arrives("bpf", 99, bytes(128), 128, what="a command that does not exist")
finish()
