# tries: leave things in the work directory at which whoever looks at it would hang or fail: pipes, sockets, loops, holes, depth
# strict: the answer does not wait, and nothing is left
# basic: the answer does not wait, and nothing is left
# end: ok HELD
# timeout: 20
# unsandboxed: held because the clean-up copes at every level

os.mkfifo("pipe")
os.symlink("loop", "loop")
os.symlink("pipe", "to-pipe")
os.symlink("/dev/zero", "zero")
os.symlink("/dev/stdin", "stdin")
os.symlink("/proc/self/mem", "memory")
with open("hole", "wb") as file:
    try:
        file.truncate(1 << 40)
    except OSError:
        pass
for name in (b"\xff\xfe", b"a\nb", b"\x1b[2J", b" ", b"..." * 80, "\u202e".encode()):
    with open(name, "w"):
        pass
start = os.getcwd()
for i in range(1500):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
os.chdir(start)
os.chmod("d" * 200, 0)
finish()
