package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// The ways in which memory is limited.
const (
	ControlCgroup2  = "cgroup2"
	ControlCgroup1  = "cgroup1"
	ControlWatchdog = "watchdog" // the runner checks, and kills
)

// cgroupRoot is where systems mount control groups.
const cgroupRoot = "/sys/fs/cgroup"

// Groups makes control groups for sandboxes, below a common one. A nil *Groups is a machine on
// which none can be made.
type Groups struct {
	version int
	// parents are the directories in which groups are made, by controller; on
	// version 2 it is one for all.
	parents map[string]string
	locks   []*os.File // see removeLeftovers
	missing []string   // unavailable controllers
	outside bool       // see Outside
	mu      sync.Mutex
	made    int
}

// families numbers the common groups of one process.
var families atomic.Int64 //nolint:gochecknoglobals // they share a name space

// NewGroups checks whether this process may make control groups that limit memory, and makes the
// common one for all others.
func NewGroups() (*Groups, error) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	for tries := 3; ; tries-- {
		g, err := newGroups(self)
		if err != nil {
			return nil, err
		}
		// Until the lock is held, a starting runner may take the group for a left-over.
		if err = g.lock(); err == nil {
			return g, nil
		}
		if err = errors.Join(err, g.Close()); tries == 0 {
			return nil, err
		}
	}
}

func newGroups(self []byte) (*Groups, error) {
	name := fmt.Sprintf("kaa-%d-%d", os.Getpid(), families.Add(1))
	g, err := newGroups1(parseCgroups(self), cgroupRoot, name)
	if err != nil {
		var err2 error
		if g, err2 = newGroups2(parseCgroups(self), cgroupRoot, name); err2 != nil {
			return nil, fmt.Errorf("make control groups: %w", errors.Join(err, err2))
		}
	}
	return g, nil
}

// lock shows other runners that this process lives.
func (g *Groups) lock() error {
	for _, parent := range g.parents {
		lock, err := lockGroup(parent)
		if err != nil {
			return err
		}
		g.locks = append(g.locks, lock)
	}
	return nil
}

// parseCgroups reads /proc/self/cgroup into controller → path; "" is version 2.
func parseCgroups(text []byte) map[string]string {
	paths := map[string]string{}
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	return paths
}

// Controllers of version 1 that are used where they exist; memory is required.
func controllers1() []string { return []string{"memory", "pids", "cpu", "cpuacct"} }

func newGroups1(self map[string]string, root, name string) (*Groups, error) {
	g := &Groups{version: 1, parents: map[string]string{}}
	for _, controller := range controllers1() {
		parent, err := makeParent1(root, self, controller, name)
		if err != nil {
			if controller == "memory" {
				return nil, err
			}
			g.missing = append(g.missing, controller)
			continue // without it this one limit is left to rlimits and to the watchdog
		}
		g.parents[controller] = parent
	}
	return g, nil
}

func makeParent1(root string, self map[string]string, controller, name string) (string, error) {
	path, ok := self[controller]
	if !ok {
		return "", fmt.Errorf("no %s controller of version 1", controller)
	}
	mount := filepath.Join(root, controller)
	if controller == "cpu" || controller == "cpuacct" { // often one mount with two names
		if _, err := os.Stat(mount); err != nil {
			mount = filepath.Join(root, "cpu,cpuacct")
		}
	}
	// In a container the path is the host's, while the mount shows only its end.
	for _, base := range []string{filepath.Join(mount, path), mount} {
		if _, err := os.Stat(filepath.Join(base, "cgroup.procs")); err != nil {
			continue
		}
		removeLeftovers(base)
		parent := filepath.Join(base, name)
		if err := os.Mkdir(parent, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
		return parent, nil
	}
	return "", fmt.Errorf("no cgroup file system at %s", mount)
}

// Control names the means of limiting memory.
func (g *Groups) Control() string {
	switch {
	case g == nil:
		return ControlWatchdog
	case g.version == 1:
		return ControlCgroup1
	}
	return ControlCgroup2
}

// Missing returns the wanted controllers that the groups lack. Their limits are left to rlimits,
// or not kept.
func (g *Groups) Missing() []string {
	if g == nil {
		return nil
	}
	return g.missing
}

// Outside reports whether the groups are not below this process's own group, so that its limits
// do not hold for them.
func (g *Groups) Outside() bool { return g != nil && g.outside }

// Bound sets the limits of processes and memory of all groups together, so that a part is left
// for the runner; 0 is no bound. It returns the limits that could not be set.
func (g *Groups) Bound(processes, memory int64) error {
	if g == nil {
		return nil
	}
	var errs []error
	set := func(controller, file1, file2 string, value int64) {
		file := file1
		if g.version == 2 {
			controller, file = "", file2
		}
		if parent, ok := g.parents[controller]; ok && value > 0 {
			errs = append(errs, write(filepath.Join(parent, file), strconv.FormatInt(value, 10)))
		}
	}
	set("pids", "pids.max", "pids.max", processes)
	set("memory", "memory.limit_in_bytes", "memory.max", memory)
	return errors.Join(errs...)
}

// New makes a group without processes. A nil receiver gives a nil group, whose
// methods do nothing.
func (g *Groups) New() (*Group, error) {
	if g == nil {
		return nil, nil //nolint:nilnil // a nil group without an error is in the contract
	}
	g.mu.Lock()
	g.made++
	name := strconv.Itoa(g.made)
	g.mu.Unlock()
	group := &Group{version: g.version, dirs: map[string]string{}}
	group.fresh.Store(-1)
	for controller, parent := range g.parents {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o750); err != nil {
			return nil, errors.Join(fmt.Errorf("make control group: %w", err), group.Remove())
		}
		group.dirs[controller] = dir
	}
	if err := group.openCounters(); err != nil {
		return nil, errors.Join(fmt.Errorf("make control group: %w", err), group.Remove())
	}
	// Swap would only delay the end. Without accounting of swap there is no such file.
	if g.version == 2 {
		_ = write(filepath.Join(group.dirs[""], "memory.swap.max"), "0")
	}
	return group, nil
}

// Close removes the common group. The groups in it must have been removed.
func (g *Groups) Close() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, parent := range g.parents {
		errs = append(errs, os.Remove(parent))
	}
	for _, lock := range g.locks {
		_ = lock.Close()
	}
	return errors.Join(errs...)
}

// Group limits and counts the resources of the processes of one sandbox together.
type Group struct {
	version int
	dirs    map[string]string
	quota   job.Quota // the limit as it was last set

	kills, cpu, peak, used *counter
	fresh                  atomic.Int64 // bytes that were used at the first reset; -1 before
}

// openCounters opens the files that are read with each execution. memory.peak of version 2 is
// not among them: only Linux 6.12 and later can reset it, and it would have the slot's own past.
func (g *Group) openCounters() error {
	for _, open := range []struct {
		to         **counter
		version    int
		controller string
		file       string
		mode       int
	}{
		{&g.kills, 1, "memory", "memory.oom_control", unix.O_RDONLY},
		{&g.kills, 2, "", "memory.events", unix.O_RDONLY},
		{&g.cpu, 1, "cpuacct", "cpuacct.usage", unix.O_RDONLY},
		{&g.cpu, 2, "", "cpu.stat", unix.O_RDONLY},
		{&g.peak, 1, "memory", "memory.max_usage_in_bytes", unix.O_RDWR},
		{&g.used, 1, "memory", "memory.usage_in_bytes", unix.O_RDONLY},
	} {
		dir, ok := g.dirs[open.controller]
		if !ok || open.version != g.version {
			continue
		}
		var err error
		if *open.to, err = openCounter(filepath.Join(dir, open.file), open.mode); err != nil {
			return err
		}
	}
	return nil
}

// dir returns the directory of a controller's files.
func (g *Group) dir(controller string) (string, bool) {
	if g.version == 2 {
		controller = ""
	}
	dir, ok := g.dirs[controller]
	return dir, ok
}

// Add moves a process into the group; its later children are in it too.
func (g *Group) Add(pid int) error {
	if g == nil {
		return nil
	}
	for _, dir := range g.dirs {
		if err := write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("add to control group: %w", err)
		}
	}
	return nil
}

// Limit sets the limits of memory, processes and processor share of q.
func (g *Group) Limit(q job.Quota) error {
	if g == nil || g.quota == q {
		return nil
	}
	const period = 100_000 // µs, the kernel's default
	share := int64(q.CPUs * period)
	for _, set := range []struct {
		controller, file1, file2, value1, value2 string
		must, wanted                             bool
	}{
		{"memory", "memory.limit_in_bytes", "memory.max", strconv.FormatInt(q.MemoryBytes, 10), "", true, q.MemoryBytes > 0 && q.MemoryBytes != g.quota.MemoryBytes},
		// Version 1 counts the data queued in TCP connections apart.
		{"memory", "memory.kmem.tcp.limit_in_bytes", "", strconv.FormatInt(q.MemoryBytes, 10), "", false, g.version == 1 && q.MemoryBytes > 0 && q.MemoryBytes != g.quota.MemoryBytes},
		// The slot itself and the supervisor are in the group too.
		{"pids", "pids.max", "pids.max", strconv.Itoa(q.Processes + ownProcesses), "", false, q.Processes > 0 && q.Processes != g.quota.Processes},
		{"cpu", "cpu.cfs_quota_us", "cpu.max", strconv.FormatInt(share, 10), fmt.Sprintf("%d %d", share, period), false, q.CPUs > 0 && q.CPUs != g.quota.CPUs},
	} {
		dir, ok := g.dir(set.controller)
		if !ok || !set.wanted {
			continue
		}
		file, value := set.file1, set.value1
		if g.version == 2 {
			file = set.file2
			if set.value2 != "" {
				value = set.value2
			}
		}
		err := whileBusy(func() error { return write(filepath.Join(dir, file), value) }, g.empty)
		if err != nil && set.must {
			return fmt.Errorf("limit control group: %w", err)
		}
	}
	g.quota = q
	return nil
}

// ownProcesses is the number of processes of a sandbox that are not the code's.
const ownProcesses = 2

// KillOthers ends every process of the group except one. If they multiply, it forbids forks
// while it kills.
func (g *Group) KillOthers(keep int, limit time.Duration) {
	if g == nil {
		return
	}
	if dir, ok := g.dir("pids"); ok {
		path := filepath.Join(dir, "pids.max")
		_ = write(path, "0")
		defer func() { _ = write(path, strconv.Itoa(g.quota.Processes+ownProcesses)) }()
	}
	dir, ok := g.dir("pids")
	if !ok {
		dir, _ = g.dir("memory")
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return
		}
		left := 0
		for field := range bytes.FieldsSeq(text) {
			pid, err := strconv.Atoi(string(field))
			if err == nil && pid > 1 && pid != keep {
				left++
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// spareMemory is the memory that may be in use at a reset above the use at the first.
const spareMemory = 4 << 20

// Reset forgets the peak of memory. The group has a worker by then that has not begun. Memory
// above the first worker's baseline is page cache charged by earlier executions; it would
// inflate the next peak. It cannot be subtracted, because the kernel reclaims it under pressure,
// so it is dropped here. That takes about 0.3 s for 1 GB; the check takes 2 µs.
func (g *Group) Reset() {
	if g == nil || g.peak == nil {
		return
	}
	used := g.used.number()
	if !g.fresh.CompareAndSwap(-1, used) && used > g.fresh.Load()+spareMemory {
		g.empty()
	}
	g.peak.reset()
}

const (
	// emptyTries is the number of times that a group is emptied for a limit.
	emptyTries = 3
	// emptyPause is the pause between them, for files to be written out and file systems to be
	// taken apart.
	emptyPause = 5 * time.Millisecond
)

// whileBusy sets a limit. Version 1 refuses one below the present use, if its first try does not
// free enough. Most of that is page cache of files that earlier executions were the first to
// read.
func whileBusy(set func() error, empty func()) error {
	err := set()
	for try := 0; try < emptyTries && errors.Is(err, unix.EBUSY); try++ {
		if try > 0 {
			time.Sleep(emptyPause)
		}
		empty()
		err = set()
	}
	return err
}

// empty has the kernel drop all memory that a group of version 1 does not need.
func (g *Group) empty() {
	if dir, ok := g.dir("memory"); ok {
		_ = write(filepath.Join(dir, "memory.force_empty"), "0") // version 2 has none
	}
}

// Peak returns the most memory in use at once since the reset; 0 if it is unknown.
func (g *Group) Peak() int64 {
	if g == nil {
		return 0
	}
	return g.peak.number()
}

// OOMKills returns the number of processes that the kernel has ended for lack of memory.
func (g *Group) OOMKills() int64 {
	if g == nil {
		return 0
	}
	return g.kills.field("oom_kill")
}

// Held returns the memory of the group that the kernel cannot take back: of its processes, and of
// files in memory.
func (g *Group) Held() int64 {
	if g == nil {
		return 0
	}
	dir, _ := g.dir("memory")
	text, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0
	}
	var held int64
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		switch string(key) {
		case "anon", "shmem", "rss": // anon of version 2 is rss of version 1
			n, _ := strconv.ParseInt(string(value), 10, 64)
			held += n
		}
	}
	return held
}

// LimitHits returns how often the group's own memory limit was the reason for ending a process
// of it. For the other ends, a group around it, or the machine, had too little memory. On
// version 1 the peak since the reset decides.
func (g *Group) LimitHits() int64 {
	switch {
	case g == nil:
		return 0
	case g.version == 2:
		return g.kills.field("oom")
	case g.peak.number() < g.quota.MemoryBytes-nearLimit:
		return 0
	}
	return g.OOMKills()
}

// nearLimit is the largest distance from its limit of a group without free memory: the kernel
// charges several pages at once.
const nearLimit = 1 << 20

// CPUMicros returns the used processor time in microseconds; 0 if it is not counted.
func (g *Group) CPUMicros() int64 {
	if g == nil {
		return 0
	}
	if g.version == 1 {
		return g.cpu.number() / 1000
	}
	return g.cpu.field("usage_usec")
}

// Counts reports whether the groups count processor time and the memory that they hold.
func (g *Groups) Counts() bool { return g != nil && !slices.Contains(g.missing, "cpuacct") }

// Remove removes the group. Its processes must have ended. Afterwards it counts nothing.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	for _, c := range []*counter{g.kills, g.cpu, g.peak, g.used} {
		c.close()
	}
	var errs []error
	for _, dir := range g.dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// write is one write to a control file: the kernel takes a value in one piece.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
