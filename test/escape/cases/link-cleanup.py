# tries: have the clean-up remove things outside, through links in the place of its directories
# strict: its file systems end without being walked
# basic: the clean-up follows no link
# end: ok HELD
# unsandboxed: held because the clean-up follows no link at any level, and the test looks at the target afterwards

here = os.getcwd()
os.symlink(outside("dir"), "dir")
os.symlink(outside("file"), "file")
os.makedirs("a/b")
os.symlink(outside("dir"), "a/b/dir")
os.symlink("/", "a/b/root")
for path in (here, tempfile.gettempdir()):
    if os.path.realpath(path) in ("/tmp", "/work"):
        continue
    try:
        os.rename(path, path + "-aside")
        os.symlink(outside("dir"), path)
    except OSError as error:
        note(path, error)
finish()
