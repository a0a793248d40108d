# tries: make namespaces with unshare, each alone and together
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

def attempt(flags, what):
    in_child(lambda: arrives("unshare", flags, what="unshare " + what))


for name, flag in CLONE_FLAGS.items():
    attempt(flag, name)
    attempt(CLONE_FLAGS["NEWUSER"] | flag, "NEWUSER and " + name)
attempt(sum(CLONE_FLAGS.values()), "everything")
attempt(CLONE_FLAGS["NEWUSER"] | 1 << 40, "NEWUSER and a high bit")


def in_thread():
    thread = threading.Thread(target=lambda: arrives("unshare", CLONE_FLAGS["NEWNET"], what="unshare in a thread"))
    thread.start()
    thread.join()


in_child(in_thread)
code, text = output("unshare", "--user", "--map-root-user", "id", "-u")
if code == 0:
    escaped("unshare, the program: %r" % text)
finish()
