package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leafName is the group below the own one to which this process and the others of the own group
// move. On version 2 a group with processes cannot pass controllers on.
const leafName = "runner"

const (
	// divideTries is the number of times that the processes of a group are moved, because they
	// may fork meanwhile.
	divideTries = 20
	dividePause = 5 * time.Millisecond
)

// wanted2 are the controllers of version 2 that are used where they exist; memory is required.
func wanted2() []string { return []string{"memory", "pids", "cpu"} }

// newGroups2 needs a group in which the memory controller may be passed on: the own one, if it
// is delegated to this process, or as root.
func newGroups2(self map[string]string, root, name string) (*Groups, error) {
	path, ok := self[""]
	if !ok {
		return nil, errors.New("no control groups of version 2")
	}
	var errs []error
	for i, b := range bases(root, path) {
		if os.Geteuid() == 0 {
			openWay(root, b.dir)
		}
		g, err := b.groups(name)
		if err == nil {
			g.outside = i > 0
			return g, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// base is a group in which others may be made.
type base struct {
	dir string
	// shared: it may have processes of others, which must not be moved.
	shared bool
}

// bases returns the places for groups of a process whose own group has this path, the best
// first. They should be below the group of the service, so that its limits hold for them too and
// they end with it.
func bases(root, path string) []base {
	if strings.HasPrefix(path, "/..") { // outside of the mounted part
		return []base{{root, true}}
	}
	own := filepath.Join(root, path)
	unit := isUnit(own)
	switch {
	case own == filepath.Clean(root):
		// In a container this is the whole visible tree, and belongs to this process.
		return []base{{own, isTop(own)}}
	case !unit && !isDelegated(own) && (filepath.Base(own) == leafName || isDelegated(filepath.Dir(own))):
		// Another process has divided the group already, or systemd has (DelegateSubgroup=).
		return []base{{filepath.Dir(own), true}}
	case isDelegated(own), !unit:
		return withTop(base{own, false}, root)
	}
	// A login has a scope or a slice, with shells and other processes. Moreover, unless the
	// group is delegated, systemd stops a service in whose group the kernel has ended a process
	// for lack of memory (OOMPolicy=).
	return withTop(base{own, true}, root)
}

// withTop adds the machine's group, in which only root may make others.
func withTop(b base, root string) []base {
	if os.Geteuid() != 0 {
		return []base{b}
	}
	return []base{b, {root, true}}
}

// isUnit reports whether a group is one that systemd has made for a unit.
func isUnit(dir string) bool {
	return slices.Contains([]string{".service", ".scope", ".slice"}, filepath.Ext(dir))
}

// isTop reports whether a group is that of the machine, which alone may have both processes
// and groups with controllers.
func isTop(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.type"))
	return err != nil
}

// isDelegated reports whether systemd has marked a group as delegated: the system's, or a
// user's, which cannot set the first attribute.
func isDelegated(dir string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		var value [8]byte
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	unit, ok := unitOfManager(dir, os.Geteuid())
	return ok && managerDelegates(unit)
}

// askManager is how long a user's manager may take to answer.
const askManager = 10 * time.Second

// unitOfManager returns the unit whose group it is, if the systemd of a user has made it. That of
// systemd 252 marks no groups.
func unitOfManager(dir string, uid int) (unit string, ok bool) {
	_, below, ok := strings.Cut(dir, fmt.Sprintf("/user@%d.service/", uid))
	return filepath.Base(dir), ok && below != "" && isUnit(dir)
}

// managerDelegates asks the systemd of this process's user whether it has delegated the group of a
// unit.
func managerDelegates(unit string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), askManager)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "--user", "show", "--property=Delegate", "--value", "--", unit).Output()
	return err == nil && strings.TrimSpace(string(out)) == "yes"
}

// groups makes the common group in b.
func (b base) groups(name string) (*Groups, error) {
	use, missing, err := offered(b.dir)
	if err != nil {
		return nil, err
	}
	removeLeftovers(b.dir)
	parent := filepath.Join(b.dir, name)
	err = b.passOn(use)
	if err == nil {
		err = os.Mkdir(parent, 0o750)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%s is not delegated to user %d: %w", b.dir, os.Geteuid(), err)
	}
	if err != nil {
		return nil, err
	}
	if err := enable(parent, use); err != nil {
		return nil, errors.Join(err, os.Remove(parent))
	}
	return &Groups{version: 2, parents: map[string]string{"": parent}, missing: missing}, nil
}

// offered returns which of the wanted controllers a group may pass on, and which it may not.
func offered(dir string) (use, missing []string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, nil, err
	}
	has := strings.Fields(string(text))
	for _, c := range wanted2() {
		if slices.Contains(has, c) {
			use = append(use, c)
		} else {
			missing = append(missing, c)
		}
	}
	if !slices.Contains(use, "memory") {
		return nil, nil, fmt.Errorf("%s has no memory controller, only %q", dir, has)
	}
	return use, missing, nil
}

// openWay has the groups on the path to dir pass on the wanted controllers. systemd does that
// only for the controllers that its units request or have delegated. While one of Kaa's groups
// has a controller, the kernel does not let it be taken away. Missing controllers show later.
func openWay(root, dir string) {
	rest, err := filepath.Rel(root, dir)
	if err != nil || rest == "." {
		return
	}
	at := root
	for part := range strings.SplitSeq(rest, "/") {
		for _, controller := range wanted2() {
			_ = enable(at, []string{controller})
		}
		at = filepath.Join(at, part)
	}
}

// passOn lets the groups in b have controllers. For that b must have no processes, so they
// move into a group in it.
func (b base) passOn(controllers []string) error {
	err := enable(b.dir, controllers)
	if b.shared && errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is not delegated, so it cannot be divided: %w", b.dir, err)
	}
	for try := 0; try < divideTries && errors.Is(err, unix.EBUSY); try++ {
		if try > 0 {
			time.Sleep(dividePause)
		}
		if err := moveAll(b.dir, filepath.Join(b.dir, leafName)); err != nil {
			return fmt.Errorf("divide control group: %w", err)
		}
		err = enable(b.dir, controllers)
	}
	return err
}

// enable passes controllers on to the groups in dir, as far as they are not yet.
func enable(dir string, controllers []string) error {
	path := filepath.Join(dir, "cgroup.subtree_control")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var add []string
	for _, c := range controllers {
		if !slices.Contains(strings.Fields(string(text)), c) {
			add = append(add, "+"+c)
		}
	}
	if len(add) == 0 {
		return nil
	}
	return write(path, strings.Join(add, " "))
}

// moveAll moves the processes of a group into one in it.
func moveAll(dir, leaf string) error {
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // as systemd makes them
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for pid := range bytes.FieldsSeq(text) {
		if string(pid) == "0" { // a process without a number here; 0 would mean the writer
			continue
		}
		err := write(filepath.Join(leaf, "cgroup.procs"), string(pid))
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrNotExist) { // it has ended
			return err
		}
	}
	return nil
}
