# tries: lose the sandbox on the way to another program: exec, threads, double forks, new sessions, memfd, the dynamic linker
# strict: whatever it becomes is as confined as it is
# basic: whatever it becomes is as confined as it is
# end: ok HELD

check = """
import ctypes, os, sys
fields = dict(l.rstrip("\\n").split(":\\t", 1) for l in open("/proc/self/status") if ":\\t" in l)
bad = []
if fields["NoNewPrivs"] != "1": bad.append("no_new_privs")
if fields["Seccomp"] != "2": bad.append("seccomp")
if int(fields["CapEff"], 16): bad.append("capabilities")
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x04000000) == 0: bad.append("unshare")
try:
    open(%r); bad.append("outside")
except OSError: pass
print("CONFINED" if not bad else " ".join(bad))
""" % outside("file")
python = (sys.executable, "-I", "-S")


def judge(what, code, text):
    if code == 0 and b"CONFINED" not in text:
        escaped("%s: %.100r" % (what, text))
    elif code != 0:
        note(what, code, text)


code, text = output(*python, "-c", check)
if code != 0:
    raise RuntimeError("no program can be run, so nothing is tried: %r" % text)
judge("exec", code, text)
judge("setsid", *output(*python, "-c", check, start_new_session=True))
judge("empty environment", *output(*python, "-c", check, env={}))
loader = next((p for p in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1") if os.path.exists(p)), None)
if loader:
    judge("dynamic linker", *output(loader, os.path.realpath(sys.executable), "-I", "-S", "-c", check))
fd, _ = raw("memfd_create", b"kaa\0", 0)
if fd >= 0:
    with open(os.path.realpath(sys.executable), "rb") as file:
        while True:
            chunk = file.read(1 << 20)
            if not chunk:
                break
            os.write(fd, chunk)
    judge("memfd", *output("/proc/self/fd/%d" % fd, "-I", "-S", "-c", "import sys; sys.prefix\n" + check, pass_fds=[fd], env={"PYTHONHOME": sys.prefix}))
shutil.copy(os.path.realpath(sys.executable), "own-python")
judge("a copy", *output("./own-python", "-I", "-S", "-c", check, env={"PYTHONHOME": sys.prefix}))


def thread():
    if raw("unshare", CLONE_FLAGS["NEWUTS"])[0] == 0:
        escaped("unshare in a thread")
    works("read in a thread", read, outside("file"))


t = threading.Thread(target=thread)
t.start()
t.join()
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.1)
        os.dup2(writer, 1)
        os.execv(sys.executable, python + ("-c", check))
    os._exit(0)
os.close(writer)
text = b""
while True:
    chunk = os.read(reader, 4096)
    if not chunk:
        break
    text += chunk
judge("orphan", 0 if text else 1, text)
finish()
