package egress

import (
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// errBytes ends a connection of a sandbox that has used up its bytes.
var errBytes = errors.New("the sandbox has sent and received all bytes that it may")

// counter counts what one sandbox does. Its memory is bounded, whatever names the code makes up.
type counter struct {
	most int64 // bytes; 0 is no limit
	log  *slog.Logger

	mu    sync.Mutex
	total job.NetworkUsage
	index map[destination]int // in total.Destinations
}

type destination struct {
	host    string
	port    uint16
	outcome job.NetworkOutcome
}

func newCounter(most int64, log *slog.Logger) *counter {
	return &counter{most: most, log: log, index: map[destination]int{}}
}

func (c *counter) usage() job.NetworkUsage {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.total
	u.Destinations = append([]job.NetworkDestination(nil), u.Destinations...)
	return u
}

// note counts an attempt, and logs it if it is the first of its kind. It returns the number of the destination; -1 if it has none.
func (c *counter) note(d destination, why string) int {
	i, known := c.index[d]
	switch {
	case known:
	case len(c.total.Destinations) >= job.MaxDestinations:
		c.total.DestinationsDropped++
		return -1
	default:
		i = len(c.total.Destinations)
		c.index[d] = i
		c.total.Destinations = append(c.total.Destinations, job.NetworkDestination{Host: d.host, Port: d.port, Outcome: d.outcome})
		c.log.Info("network: code asks for a destination", slog.String("host", d.host), slog.Int("port", int(d.port)), slog.String("outcome", string(d.outcome)), slog.String("reason", why))
	}
	c.total.Destinations[i].Count++
	return i
}

// refuse counts an attempt without a connection, and returns its reason.
func (c *counter) refuse(host string, port uint16, why *refusal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Refused++
	c.note(destination{host, port, why.outcome}, why.text)
	return why
}

// connected counts a connection, and returns it as one that counts its bytes.
func (c *counter) connected(conn net.Conn, host string, port uint16) *outside {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Connections++
	o := &outside{Conn: conn, count: c, index: c.note(destination{host, port, job.NetworkConnected}, "")}
	o.watch()
	return o
}

// add counts bytes and reports whether more may follow.
func (c *counter) add(index int, sent, received int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.BytesSent += sent
	c.total.BytesReceived += received
	if index >= 0 {
		c.total.Destinations[index].BytesSent += sent
		c.total.Destinations[index].BytesReceived += received
	}
	return !c.isOverLocked()
}

func (c *counter) isOverBytes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOverLocked()
}

func (c *counter) isOverLocked() bool {
	return c.most > 0 && c.total.BytesSent+c.total.BytesReceived >= c.most
}

// outside is a connection to a destination.
type outside struct {
	net.Conn
	count *counter
	index int
	d     *Door
	idle  idle
}

func (o *outside) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.idle.moved(n)
	if n > 0 && !o.count.add(o.index, 0, int64(n)) && err == nil {
		err = errBytes
	}
	return n, err
}

func (o *outside) Write(p []byte) (int, error) {
	n, err := o.Conn.Write(p)
	o.idle.moved(n)
	if n > 0 && !o.count.add(o.index, int64(n), 0) && err == nil {
		err = errBytes
	}
	return n, err
}

// Close ends the connection.
func (o *outside) Close() error {
	o.d.drop(o)
	return o.Conn.Close()
}

// CloseWrite shows the destination that nothing follows.
func (o *outside) CloseWrite() error { return closeWrite(o.Conn) }
