# tries: watch and hold up all file accesses of the machine
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

FAN_REPORT_FID, FAN_CLASS_CONTENT = 0x200, 4
arrives("fanotify_init", 0, 0, close=True)
arrives("fanotify_init", FAN_REPORT_FID, 0, close=True, what="fanotify_init without privileges")
arrives("fanotify_init", FAN_CLASS_CONTENT, 0, close=True, what="fanotify_init with permissions")
arrives("fanotify_mark", -1, 1, 0, 1, AT_FDCWD, b"/")
finish()
