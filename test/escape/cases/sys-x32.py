# tries: call the kernel with the numbers of the x32 ABI, past a filter for those of x86-64
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD
# unsandboxed: held because most kernels are built without x32

if MACHINE == "x86_64":
    for name in ("getpid", "mount", "unshare", "ptrace", "bpf", "setns", "chroot", "keyctl", "init_module"):
        result, code = raw(0x40000000 | SYSCALLS[name], 0, 0, 0, 0, 0)
        if result >= 0 or code not in REFUSED:
            escaped("x32 %s: %d %s" % (name, result, errno.errorcode.get(code, code)))
    for number in (512, 520, 521, 539, 545, 546):  # x32's own: rt_sigaction, execve, ptrace, process_vm_readv, execveat
        result, code = raw(0x40000000 | number, 0, 0, 0, 0, 0)
        if code not in REFUSED:
            escaped("x32 %d" % number)
finish()
