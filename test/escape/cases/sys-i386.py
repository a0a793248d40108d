# tries: call the kernel as a 32-bit program does, past a filter for 64-bit calls
# strict: seccomp refuses calls of a foreign architecture
# basic: seccomp refuses calls of a foreign architecture
# end: ok HELD

def calls():
    # push rbx; mov eax, edi; mov ebx, esi; mov r8d, ecx; mov ecx, edx; mov edx, r8d; xor esi, esi; xor edi, edi; int 0x80; pop rbx; ret
    code = bytes.fromhex("5389f889f34189c889d14489c231f631ffcd805bc3")
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
    GETPID, MOUNT, UMOUNT2, PTRACE, UNSHARE, SOCKETCALL, PIVOT_ROOT, KEYCTL = 20, 21, 52, 26, 310, 102, 217, 288
    for name, number, arguments in (("getpid", GETPID, (0, 0, 0)), ("mount", MOUNT, (0, 0, 0)), ("umount2", UMOUNT2, (0, 2, 0)),
                                    ("ptrace", PTRACE, (16, 1 << 22, 0)), ("unshare", UNSHARE, (0x20000, 0, 0)), ("socketcall", SOCKETCALL, (1, 0, 0)),
                                    ("pivot_root", PIVOT_ROOT, (0, 0, 0)), ("keyctl", KEYCTL, (0, -2, 0))):
        result = call(number, *arguments)
        note("int 0x80", name, result)
        if result >= 0 or -result not in REFUSED:
            escaped("int 0x80, %s: %d" % (name, result))


if MACHINE == "x86_64":
    in_child(calls)  # a kernel without these calls ends the child
finish()
