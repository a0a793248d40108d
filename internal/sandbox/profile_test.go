package sandbox_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestContainerProfile: the seccomp profile for the runner's container allows what
// sandboxes are made with, and denies all else that an ordinary container may not do.
func TestContainerProfile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	var profile struct {
		DefaultAction string
		Syscalls      []struct {
			Names  []string
			Action string
			Args   []struct{ Value uint64 }
		}
	}
	if err := json.Unmarshal(text, &profile); err != nil {
		t.Fatal(err)
	}
	if profile.DefaultAction != "SCMP_ACT_ERRNO" {
		t.Errorf("default action %s", profile.DefaultAction)
	}
	var allowed []string
	for _, rule := range profile.Syscalls {
		if rule.Action != "SCMP_ACT_ALLOW" {
			t.Errorf("action %s", rule.Action)
		}
		if len(rule.Args) == 0 {
			allowed = append(allowed, rule.Names...)
		}
	}
	for _, name := range scriptCalls(t) {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s, which a script of internal/python calls, is not allowed", name)
		}
	}
	for _, name := range []string{
		"clone", "unshare", "setns", "mount", "umount2", "pivot_root", "mount_setattr", "sethostname", "setdomainname", "seccomp", "prctl", "capset",
		"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "pidfd_open", "pidfd_send_signal",
	} {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	for _, name := range []string{
		"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "bpf", "perf_event_open", "userfaultfd", "keyctl",
		"add_key", "request_key", "io_uring_setup", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
		"reboot", "swapon", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "modify_ldt", "syslog", "acct",
		"quotactl", "open_by_handle_at", "name_to_handle_at", "fsopen", "fsconfig", "fsmount", "open_tree",
		"move_mount", "chroot", "socket", "socketcall", "personality",
	} {
		if slices.Contains(allowed, name) {
			t.Errorf("%s is allowed, whatever its arguments", name)
		}
	}
}

// scriptCalls returns the system calls that the scripts of sandboxes name: by number, as a step of
// a program, or as a function of the C library.
func scriptCalls(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../python/*.py")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	named := regexp.MustCompile(`\bnumber\("(\w+)"\)|program\.add\([^,]+, "(\w+)"|\blibc\.(\w+)\b`)
	// Functions of the C library that make no call of that name.
	library := []string{"syscall", "strcpy", "strlen", "memcmp", "memcpy", "memset", "setvbuf", "fflush", "sigaddset", "sigemptyset", "sigfillset", "malloc_trim", "signalfd"}
	var calls []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			if name := m[1] + m[2] + m[3]; !slices.Contains(library, name) && !slices.Contains(calls, name) {
				calls = append(calls, name)
			}
		}
	}
	if !slices.Contains(calls, "sethostname") || !slices.Contains(calls, "pivot_root") || !slices.Contains(calls, "clone") {
		t.Fatalf("found only %v", calls)
	}
	return calls
}
