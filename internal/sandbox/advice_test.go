package sandbox_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// TestAdvice: what is advised is what would help on the machine, and nothing else.
func TestAdvice(t *testing.T) {
	t.Parallel()
	const full, refused = "no space left on device", "operation not permitted"
	type sysctls map[string]int
	for _, tt := range []struct {
		name, layer, reason string
		root                bool
		set                 sysctls
		want, not           string
	}{
		{"no user namespaces", "user namespace", full, false, sysctls{"user.max_user_namespaces": 0}, "user.max_user_namespaces above 0", "root"},
		{"no user namespaces, root", "user namespace", full, true, sysctls{"user.max_user_namespaces": 0}, "user.max_user_namespaces above 0", "root"},
		{"too many user namespaces", "user namespace", full, false, sysctls{"user.max_user_namespaces": 7}, "raise sysctl user.max_user_namespaces (7 now)", "seccomp"},
		{"not for ordinary users", "user namespace", refused, false, sysctls{"kernel.unprivileged_userns_clone": 0}, "kernel.unprivileged_userns_clone=1", "root"},
		{"not for ordinary users, root", "user namespace", "unshare: refused", true, sysctls{"kernel.unprivileged_userns_clone": 0}, "kernel.unprivileged_userns_clone=1", "root"},
		{"AppArmor", "user namespace", refused, false, sysctls{"kernel.apparmor_restrict_unprivileged_userns": 1}, "=0, or run the runner as root", "max_user"},
		{"AppArmor, root", "user namespace", refused, true, sysctls{"kernel.apparmor_restrict_unprivileged_userns": 1}, "_userns=0", "root"},
		{"a filter", "user namespace", refused, false, sysctls{"user.max_user_namespaces": 100}, "deploy/seccomp.json", "sysctl"},
		{"no network namespaces", "network namespace", full, false, sysctls{"user.max_net_namespaces": 0}, "user.max_net_namespaces above 0", "user namespace"},
		{"too many network namespaces", "network namespace", full, false, sysctls{"user.max_net_namespaces": 3}, "raise sysctl user.max_net_namespaces (3 now)", "above 0"},
		{"no mount namespaces", "mount namespace", full, false, sysctls{"user.max_mnt_namespaces": 0}, "user.max_mnt_namespaces above 0", "AppArmor"},
		{"a filter of mounts", "mount namespace", refused, false, nil, "apparmor=unconfined", "sysctl"},
		{"masked proc", "proc", refused, false, nil, "systempaths=unconfined", "sysctl"},
		{"not a layer", "interpreter", "no such file or directory", false, nil, "", "sysctl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host := sandbox.Host{Root: tt.root, Sysctl: func(name string) (int, bool) { v, ok := tt.set[name]; return v, ok }}
			got := host.Advice(tt.layer, tt.reason)
			if !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) || (got == "") != (tt.want == "") {
				t.Errorf("%q; want %q and not %q", got, tt.want, tt.not)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		none string
		want string
	}{{"", ""}, {"user.max_pid_namespaces", "pid namespace"}, {"user.max_user_namespaces", "user namespace"}} {
		host := sandbox.Host{Sysctl: func(name string) (int, bool) {
			if name == tt.none {
				return 0, true
			}
			return 5, name != "user.max_uts_namespaces"
		}}
		if got := host.Forbidden(); got != tt.want {
			t.Errorf("with no %q: %q, want %q", tt.none, got, tt.want)
		}
	}
}
