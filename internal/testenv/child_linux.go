package testenv

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// childVariable makes a test binary one of Kaa's processes instead.
const childVariable = "TEST_PROCESS_OF_KAA"

// The ways in which a machine may be unfit for a level of the sandbox. Child makes each in a user
// namespace of its own, so nothing outside it changes.
const (
	Fit      = ""
	NoUserNS = "echo 0 > /proc/sys/user/max_user_namespaces"
	NoNetNS  = "echo 0 > /proc/sys/user/max_net_namespaces"
	// MaskedProc is what container engines do; then no fresh /proc may be mounted.
	MaskedProc = "mount --bind /dev/null /proc/version"
)

// Child is the test binary as the process of that name, on such a machine. TestMain of the package
// asks ChildName.
func Child(tb testing.TB, name, unfit string, environ []string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	argv := []string{self}
	if unfit != Fit {
		argv = []string{"/bin/sh", "-ec", unfit + "; exec \"$0\"", self}
	}
	cmd := exec.CommandContext(tb.Context(), argv[0], argv[1:]...) //nolint:gosec // the words are the tests' own
	cmd.Env = append(append([]string{"TMPDIR=" + os.TempDir()}, environ...), ChildEnv(name), "PATH="+os.Getenv("PATH"))
	if unfit != Fit {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
	}
	return cmd
}

// ChildEnv is the variable that makes a test binary the process of that name.
func ChildEnv(name string) string { return childVariable + "=" + name }

// ChildName is the process that this test binary is; empty if it is to run its tests.
func ChildName() string { return os.Getenv(childVariable) }

// ExitCode returns the exit code of a command that has ended with err; -1 if it has none.
func ExitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}
