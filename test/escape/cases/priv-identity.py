# tries: become root or somebody else: every call that changes ids
# strict: an ordinary user, 1000, who can become nobody else
# basic: nobody else than it is
# end: ok HELD

me, group = os.getuid(), os.getgid()
if HINTS.get("level") == "strict" and (os.getresuid() != (1000,) * 3 or os.getresgid() != (1000,) * 3 or set(os.getgroups()) - {1000}):
    escaped("is %s %s %s" % (os.getresuid(), os.getresgid(), os.getgroups()))
for user in {0, 1, 2, 33, 65534, 1001, 100000, 4294967294} - {me}:
    def attempts():
        works("setuid %d" % user, os.setuid, user)
        works("seteuid %d" % user, os.seteuid, user)
        works("setreuid %d" % user, os.setreuid, user, user)
        works("setresuid %d" % user, os.setresuid, -1, user, -1)
        works("setresuid, saved %d" % user, os.setresuid, -1, -1, user)
        before = libc.setfsuid(-1)
        libc.setfsuid(user)
        if libc.setfsuid(-1) not in (before, me):
            escaped("setfsuid %d" % user)

    in_child(attempts)
for number in {0, 1, 4, 5, 6, 27, 42, 65534, 1001} - {group}:
    def attempts():
        works("setgid %d" % number, os.setgid, number)
        works("setregid %d" % number, os.setregid, number, number)
        works("setresgid %d" % number, os.setresgid, -1, number, -1)
        works("setgroups %d" % number, os.setgroups, [number])

    in_child(attempts)
in_child(lambda: works("drop groups", os.setgroups, []))
finish()
