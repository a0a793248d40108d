# tries: crash the interpreter by a wrong pointer, in a child and then itself
# strict: status exit with 139
# basic: status exit with 139
# end: exit
# unsandboxed: held because a crash shows at every level

if os.fork() == 0:
    ctypes.string_at(8)
os.wait()
print("HELD", flush=True)
ctypes.string_at(8)
