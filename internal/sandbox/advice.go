package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Host has the facts about the machine that Advice needs.
type Host struct {
	// Root: the runner is root already.
	Root bool
	// Sysctl returns a setting of the kernel by its name; false if the kernel has none.
	Sysctl func(name string) (int, bool)
}

// ThisHost is the machine that this process runs on.
func ThisHost() Host {
	return Host{Root: os.Geteuid() == 0, Sysctl: func(name string) (int, bool) {
		text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil {
			return 0, false
		}
		value, err := strconv.Atoi(strings.TrimSpace(string(text)))
		return value, err == nil
	}}
}

// The layers that are namespaces, and the kernel's limits of them.
var namespaceLimits = map[string]string{ //nolint:gochecknoglobals // a constant
	"user namespace": "user.max_user_namespaces", "mount namespace": "user.max_mnt_namespaces", "network namespace": "user.max_net_namespaces",
	"pid namespace": "user.max_pid_namespaces", "ipc namespace": "user.max_ipc_namespaces", "uts namespace": "user.max_uts_namespaces",
	"cgroup namespace": "user.max_cgroup_namespaces",
}

// Forbidden returns the first of the layers that are namespaces of which this host allows none;
// empty if it allows some of each.
func (h Host) Forbidden() string {
	for _, layer := range Strict.Layers() {
		if name, ok := namespaceLimits[layer]; ok {
			if most, known := h.Sysctl(name); known && most == 0 {
				return layer
			}
		}
	}
	return ""
}

// Advice returns the change with which an operator can make a layer hold that failed for the
// given reason. It names only changes that help on this host.
func (h Host) Advice(layer, reason string) string {
	limit, isNamespace := namespaceLimits[layer]
	most, known := 0, false
	if isNamespace {
		most, known = h.Sysctl(limit)
	}
	switch {
	case known && most == 0:
		return fmt.Sprintf("allow %ss: on the host set sysctl %s above 0", layer, limit)
	case layer == "user namespace":
		return h.userNamespaces(limit, reason)
	case isNamespace && full(reason):
		return fmt.Sprintf("raise sysctl %s (%d now)", limit, most)
	}
	switch layer {
	case "namespaces":
		if full(reason) {
			return "raise the sysctls user.max_*_namespaces"
		}
		return "allow namespaces: in a container use deploy/seccomp.json as its seccomp profile"
	case "mount namespace":
		return "allow mounts in user namespaces: in a container use deploy/seccomp.json as its seccomp profile and " +
			"an AppArmor profile that allows mount (apparmor=unconfined); Linux 5.12 or later is needed"
	case "proc":
		return "let a fresh /proc be mounted: give the container the volume whole-proc as docker-compose.yml does, or start it with " +
			"security_opt systempaths=unconfined (Kubernetes: procMount: Unmasked, with hostUsers: false)"
	case "network namespace", "pid namespace", "ipc namespace", "uts namespace", "cgroup namespace":
		return fmt.Sprintf("allow %ss: in a container use deploy/seccomp.json as its seccomp profile", layer)
	case "landlock":
		return "enable Landlock: Linux 5.13 or later with landlock in the kernel's lsm= list; in a container allow the " +
			"landlock_* system calls in its seccomp profile"
	case "seccomp":
		return "use a kernel with CONFIG_SECCOMP_FILTER"
	case "capabilities", "no_new_privs", "rlimits", "process supervision":
		return "use Linux 5.12 or later"
	case MemoryControl:
		return "let the runner divide its control group: run it as a systemd service, of the system or of a user, with " +
			"Delegate=memory pids cpu; in a container with a writable /sys/fs/cgroup of its own; or as root"
	case "memory limit":
		return "mount /proc writable for the runner"
	}
	return ""
}

// full reports whether a limit of namespaces was reached: that is what ENOSPC means there.
func full(reason string) bool { return strings.Contains(strings.ToLower(reason), "no space left") }

func (h Host) userNamespaces(limit, reason string) string {
	is := func(name string, value int) bool {
		got, known := h.Sysctl(name)
		return known && got == value
	}
	const clone, apparmor = "kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns"
	switch most, _ := h.Sysctl(limit); {
	case is(clone, 0): // for root, too: a sandbox's own namespaces are made without rights
		return "allow user namespaces: on the host set sysctl " + clone + "=1"
	case is(apparmor, 1) && !h.Root:
		return "allow user namespaces: on the host set sysctl " + apparmor + "=0, or run the runner as root"
	case is(apparmor, 1):
		return "allow user namespaces: on the host set sysctl " + apparmor + "=0"
	case full(reason):
		return fmt.Sprintf("raise sysctl %s (%d now), or nest fewer user namespaces (the kernel allows 32)", limit, most)
	}
	return "allow user namespaces: in a container use deploy/seccomp.json as its seccomp profile; on a host they are refused by " +
		"a security module, or by the service's own settings (RestrictNamespaces= and SystemCallFilter= of systemd)"
}
