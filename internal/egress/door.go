package egress

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// socksVersion begins what a client of SOCKS5 sends. No request of HTTP begins with it.
	socksVersion = 5
	// bufferBytes is the size of the kernel's buffers of a connection from a sandbox. The kernel charges them to the runner.
	bufferBytes = 256 << 10
	// mostHeaders bounds the headers of a request and of an answer.
	mostHeaders = 64 << 10
	// restTime is a pause after a connection that was refused for lack of a place.
	restTime = 10 * time.Millisecond
)

// Door is the proxy of one sandbox. The caller must close it.
type Door struct {
	gate     *Gate
	listener net.Listener
	owner    string // of the code
	rules    []job.NetworkRule
	count    *counter
	http     *http.Server
	requests *queue          // of connections that speak HTTP
	inspect  *interceptor    // nil if the network has no rules for requests
	life     context.Context //nolint:containedctx // ends with the door
	end      context.CancelFunc
	working  sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{} // nil once the door is closed
	inside int                   // connections from the sandbox
}

// Open begins to serve a sandbox's proxy at a listener, which the door owns then.
func (g *Gate) Open(l net.Listener, n job.Network, sandbox string) *Door {
	if n.Owner != "" { // there are keys, so there may be other tenants
		g.places.Fair(true)
	}
	d := &Door{
		gate: g, listener: l, owner: n.Owner, rules: n.Rules(), open: map[net.Conn]struct{}{}, requests: newQueue(l.Addr()),
		count: newCounter(g.cfg.Bytes, g.cfg.Log.With(slog.String("session_id", sandbox))),
	}
	d.life, d.end = context.WithCancel(context.Background())
	d.inspect = newInterceptor(d, n)
	onward := &http.Transport{
		DialContext: d.dial, MaxResponseHeaderBytes: mostHeaders, ResponseHeaderTimeout: idleTime, DisableCompression: true,
		DisableKeepAlives: true, // one connection for each request, so that counts show what the code did
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) // what it would log is the code's doing
	forward := &httputil.ReverseProxy{Transport: onward, FlushInterval: -1, Rewrite: rewrite, ErrorHandler: answerError, ErrorLog: quiet, BufferPool: buffers{}}
	d.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.serveHTTP(forward, w, r) }), ErrorLog: quiet,
		ReadHeaderTimeout: beginTime, IdleTimeout: keepTime, MaxHeaderBytes: mostHeaders,
		BaseContext: func(net.Listener) context.Context { return d.life },
	}
	d.working.Go(func() { _ = d.http.Serve(d.requests) })
	d.working.Go(d.accept)
	return d
}

// Usage returns the counts so far.
func (d *Door) Usage() job.NetworkUsage { return d.count.usage() }

// Authority is the certificate, in PEM, by which the sandbox has to know destinations; nil if the door does not look into requests.
func (d *Door) Authority() []byte {
	if d.inspect == nil || d.inspect.authority == nil || !d.gate.cfg.Intercept {
		return nil
	}
	return d.inspect.authority.pem
}

// Close ends all connections. It waits until nothing of the door is left.
func (d *Door) Close() {
	d.mu.Lock()
	open := d.open
	d.open = nil
	d.end()
	d.mu.Unlock()
	_ = d.listener.Close()
	_ = d.http.Close()
	d.inspect.close()
	for c := range open {
		_ = c.Close()
	}
	d.working.Wait()
}

// hold notes a connection that ends with the door. It reports false if the door is closed.
func (d *Door) hold(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		return false
	}
	d.open[c] = struct{}{}
	return true
}

// drop forgets a connection.
func (d *Door) drop(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, c)
}

// accept takes connections until the listener is closed.
func (d *Door) accept() {
	for {
		c, err := d.listener.Accept()
		if err != nil {
			if d.life.Err() != nil {
				return
			}
			d.rest() // the runner has no descriptor left, for example
			continue
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetReadBuffer(bufferBytes)
			_ = t.SetWriteBuffer(bufferBytes)
		}
		in := &inside{Conn: c, d: d}
		in.watch()
		if !d.enter(in) {
			in.timer.Stop()
			if d.life.Err() != nil { // it came when the door was closed, and is not refused
				_ = c.Close()
				return
			}
			d.refuseConnection(c)
			d.rest()
			continue
		}
		go d.begin(in)
	}
}

// rest keeps code that connects over and over from taking the runner's processors. Its connections wait in the kernel meanwhile.
func (d *Door) rest() {
	select {
	case <-d.life.Done():
	case <-time.After(restTime):
	}
}

// enter takes a place of the sandbox and one of the gate.
func (d *Door) enter(c *inside) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil || d.gate.cfg.Connections > 0 && d.inside >= d.gate.cfg.Connections {
		return false
	}
	if _, _, ok := d.gate.places.Take(d.owner, 1, mostOfGate); !ok {
		return false
	}
	d.inside++
	d.open[c] = struct{}{}
	d.working.Add(1)
	return true
}

// refuseConnection answers a connection for which there is no place, in the way of HTTP.
func (d *Door) refuseConnection(c net.Conn) {
	why := &refusal{job.NetworkTooMany, "this sandbox, or all of your sandboxes or of this machine together, have as many connections as they may"}
	_ = d.count.refuse("", 0, why)
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // a new connection takes so little at once
	_, _ = io.WriteString(c, statusLine(http.StatusServiceUnavailable, why.text))
	_ = c.Close()
}

// inside is a connection from the sandbox.
type inside struct {
	net.Conn
	d      *Door
	reader *bufio.Reader // has its first bytes
	closed sync.Once
	idle   idle
	timer  *time.Timer // ends it when it has been idle for too long
}

func (c *inside) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.idle.moved(n)
	return n, err
}

func (c *inside) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.idle.moved(n)
	return n, err
}

// CloseWrite shows the client that nothing follows.
func (c *inside) CloseWrite() error { return closeWrite(c.Conn) }

// Close gives the places back.
func (c *inside) Close() error {
	c.closed.Do(func() {
		c.timer.Stop()
		_ = c.Conn.Close()
		c.d.mu.Lock()
		c.d.inside--
		delete(c.d.open, c)
		c.d.mu.Unlock()
		c.d.gate.places.Give(c.d.owner, 1)
		c.d.working.Done()
	})
	return nil
}

// begin finds out which protocol a client speaks.
func (d *Door) begin(c *inside) {
	_ = c.SetReadDeadline(time.Now().Add(beginTime))
	c.reader = bufio.NewReaderSize(c.Conn, 4<<10)
	first, err := c.reader.Peek(1)
	switch {
	case err != nil:
		_ = c.Close()
	case first[0] == socksVersion:
		d.serveSOCKS(c)
	default:
		d.requests.put(c)
	}
}

// dial connects for a request with an absolute URL.
func (d *Door) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := job.ParseDestination(address)
	if err != nil {
		return nil, d.count.refuse("", 0, badRequest(err))
	}
	out, err := d.connect(ctx, host, port)
	if err != nil {
		return nil, err // not an *outside that is nil
	}
	return out, nil
}

func badRequest(err error) *refusal {
	return &refusal{job.NetworkBadRequest, "the destination " + err.Error()}
}

func place(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// queue is a listener whose connections are put into it.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func newQueue(addr net.Addr) *queue {
	return &queue{conns: make(chan net.Conn), closed: make(chan struct{}), addr: addr}
}

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.closed:
		_ = c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
