# tries: open the kernel's settings in /proc/sys for writing
# strict: the settings are not its own, and Landlock refuses
# basic: Landlock refuses
# end: ok HELD

# Those that everybody may open and the kernel checks when it is written to.
checked_later = {"/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/keys/persistent_keyring_expiry"}
paths = {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/poweroff_cmd",
         "/proc/sys/fs/binfmt_misc/register", "/proc/sys/vm/panic_on_oom", "/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory",
         "/proc/sys/kernel/panic", "/proc/sys/kernel/hostname", "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/kptr_restrict",
         "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/user/max_user_namespaces", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmax",
         "/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max", "/proc/sys/fs/file-max", "/proc/sys/kernel/unprivileged_bpf_disabled"}
for top, _, files in os.walk("/proc/sys"):
    paths.update(os.path.join(top, f) for f in files)
for path in sorted(paths - checked_later):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        continue
    escaped("write to " + path)
finish()
