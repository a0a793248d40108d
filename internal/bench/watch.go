package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Machine is the one that has run the load.
type Machine struct {
	Processors int     `json:"processors"`
	Load       float64 `json:"load"` // of the last minute, before the run
}

// watch looks at the processes and the Redis of a single target.
type watch struct {
	machine  Machine
	pids     []int
	redis    string
	cpu      time.Duration
	commands int64
	before   time.Duration
	were     int64
}

func newWatch(_ context.Context, o Options) *watch {
	w := &watch{machine: Machine{Processors: runtime.NumCPU(), Load: loadOf()}, pids: o.PIDs, redis: o.Redis}
	if len(o.Targets) == 1 {
		if pid := listener(o.Targets[0].URL); pid != 0 && !slices.Contains(w.pids, pid) {
			w.pids = append(w.pids, pid)
		}
	}
	return w
}

func (w *watch) begin(ctx context.Context) {
	w.before = cpuOf(w.pids)
	w.were, _ = commandsOf(ctx, w.redis)
}

func (w *watch) stop(ctx context.Context) {
	if after := cpuOf(w.pids); w.before > 0 && after > w.before {
		w.cpu = after - w.before
	}
	if after, err := commandsOf(ctx, w.redis); err == nil && w.were > 0 {
		w.commands = after - w.were
	}
}

// loadOf returns the load of the machine.
func loadOf() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	n, _ := strconv.ParseFloat(first, 64) // 0 if it is none
	return n
}

// listener returns the process of this machine that listens at the port of an address; 0 if it cannot be seen.
func listener(address string) int {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		return 0
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return 0
	}
	socket := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				socket = "socket:[" + f[9] + "]"
			}
		}
	}
	if socket == "" {
		return 0
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}

// tick is the unit of the times in /proc/PID/stat.
const tick = time.Second / 100

// cpuOf returns the processor time of processes, of their descendants, and of those that these have waited for.
func cpuOf(pids []int) time.Duration {
	if len(pids) == 0 {
		return 0
	}
	type process struct {
		parent int
		cpu    time.Duration
	}
	all := map[int]process{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(f) < 15 {
			continue
		}
		p := process{}
		p.parent, _ = strconv.Atoi(f[1])
		for _, field := range f[11:15] { // of itself, and of the children that it has waited for
			n, _ := strconv.ParseInt(field, 10, 64)
			p.cpu += time.Duration(n) * tick
		}
		all[pid] = p
	}
	total := time.Duration(0)
	for pid, p := range all {
		for at, depth := pid, 0; at > 1 && depth < len(all); at, depth = all[at].parent, depth+1 {
			if slices.Contains(pids, at) {
				total += p.cpu
				break
			}
		}
	}
	return total
}

// commandsOf returns how many commands a Redis has executed since its start.
func commandsOf(ctx context.Context, address string) (int64, error) {
	if address == "" {
		return 0, errors.New("no Redis is named")
	}
	u, err := url.Parse(address)
	if err != nil {
		return 0, fmt.Errorf("the address of Redis: %w", err)
	}
	network, to := "tcp", u.Host
	if u.Scheme == "unix" {
		network, to = "unix", u.Path
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, to)
	if err != nil {
		return 0, fmt.Errorf("connect to Redis: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	say := ""
	if password, ok := u.User.Password(); ok {
		say = command("AUTH", password)
		if name := u.User.Username(); name != "" {
			say = command("AUTH", name, password)
		}
	}
	if _, err := conn.Write([]byte(say + command("INFO", "stats") + command("QUIT"))); err != nil {
		return 0, fmt.Errorf("ask Redis: %w", err)
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "total_commands_processed:"); ok {
			return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		}
	}
	return 0, errors.New("INFO of Redis does not say how many commands it has executed")
}

// command writes a command as Redis reads it.
func command(words ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(w), w)
	}
	return text.String()
}
