# tries: move things out of and into its directories, and exchange them with others
# strict: there is nowhere to move to
# basic: Landlock refuses
# end: ok HELD

with open("mine", "w") as file:
    file.write("x")
os.mkdir("mydir")
for where in (outside("dir"), outside("work dir"), victim("dir"), "/usr/lib", "/etc", "/var/tmp", "/"):
    for name in ("mine", "mydir"):
        there = os.path.join(where, LEFT + "-moved")
        works("move %s to %s" % (name, where), lambda: os.rename(os.rename(name, there) or there, name))
for path in (outside("file"), victim("file")):
    RENAME_EXCHANGE = 2
    if libc.renameat2(AT_FDCWD, os.fsencode(path), AT_FDCWD, b"mine", RENAME_EXCHANGE) == 0:
        libc.renameat2(AT_FDCWD, os.fsencode(path), AT_FDCWD, b"mine", RENAME_EXCHANGE)
        escaped("exchange with " + path)
finish()
