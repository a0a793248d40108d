# tries: load and remove kernel modules, load another kernel, reboot
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

arrives("init_module", 0, 0, b"")
arrives("finit_module", -1, b"", 0)
arrives("delete_module", b"kaa_no_such_module", 0)
arrives("kexec_load", 0, 0xFFFF, 0, 0xFFFF0000)
arrives("kexec_file_load", -1, -1, 0, 0, 0xFF00)
arrives("reboot", 1, 2, 3, 0)  # wrong magic numbers
arrives("reboot", 0xFEE1DEAD, 1, 0, 0, what="reboot with half of the magic")
finish()
