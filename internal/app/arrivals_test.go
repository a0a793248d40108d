package app

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// station is a server on a real socket that counts the connections which net/http gets.
type station struct {
	*testing.T
	addr  string
	conns *connections
	got   atomic.Int32
}

func newStation(t *testing.T) *station {
	t.Helper()
	lis, err := listen(t.Context(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &station{T: t, addr: lis.Addr().String(), conns: newConnections(lis, 0)}
	server := &http.Server{
		MaxHeaderBytes:    mostHeader,
		ReadHeaderTimeout: headerTime,
		ConnState: func(conn net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.got.Add(1)
			}
			s.conns.changed(conn, state)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
	}
	go func() { _ = server.Serve(s.conns) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// dial opens a connection that sends something.
func (s *station) dial(text string) *net.TCPConn {
	s.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", s.addr)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	tcp, _ := conn.(*net.TCPConn)
	s.send(tcp, text)
	return tcp
}

func (s *station) send(conn io.Writer, text string) {
	s.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		s.Fatal(err)
	}
}

// answer returns the status and the body of the next answer.
func (s *station) answer(conn *net.TCPConn) (int, string) {
	s.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(body)
}

const post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"

// TestHalfHeadersStayOutside: net/http gets no connection that has not sent a whole header, whatever
// comes from the same address. A whole request is served meanwhile.
func TestHalfHeadersStayOutside(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	const more = 100
	closed := make(chan error, mostHeads+more)
	for range mostHeads + more {
		conn := s.dial("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 1000))
		go func() {
			_, err := io.Copy(io.Discard, conn)
			closed <- err
		}()
	}
	for range more {
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	}
	if status, body := s.answer(s.dial(post + "hello")); status != http.StatusOK || body != "hello" {
		t.Errorf("a whole request: %d, %q", status, body)
	}
	if got := s.got.Load(); got != 1 {
		t.Errorf("net/http got %d connections, want that of the whole request", got)
	}
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	if s.conns.heads.Len() > mostHeads || s.conns.open > mostHeads+1 {
		t.Errorf("%d unfinished headers, %d connections open", s.conns.heads.Len(), s.conns.open)
	}
}

// TestArrivals: requests arrive in any pieces, and what is no request is answered.
func TestArrivals(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	bytewise := strings.Split(post+"hello", "")
	for name, tt := range map[string]struct {
		pieces []string
		end    bool // the client sends no more
		status int
		body   string
	}{
		"at once":                 {[]string{post + "hello"}, false, 200, "hello"},
		"the body later":          {[]string{post, "hello"}, false, 200, "hello"},
		"byte by byte":            {bytewise, false, 200, "hello"},
		"byte by byte, then ends": {bytewise, true, 200, "hello"},
		"newlines only":           {[]string{strings.ReplaceAll(post, "\r", "") + "hello"}, false, 200, "hello"},
		"a large header":          {[]string{strings.Replace(post, "Host", "X-Long: "+strings.Repeat("x", 15_000)+"\r\nHost", 1), "hello"}, false, 200, "hello"},
		"a larger one":            {[]string{"GET / HTTP/1.1\r\nX-Long: " + strings.Repeat("x", 40_000)}, false, 431, ""},
		"a long path":             {[]string{"GET /" + strings.Repeat("x", 40_000)}, false, 431, ""},
		"half, then ends":         {[]string{"GET / HTTP/1.1\r\nHost:"}, true, 400, ""},
		"a word":                  {[]string{"HELLO\r\n"}, false, 400, ""},
		"TLS":                     {[]string{"\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03" + strings.Repeat("\n", 30)}, false, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &station{T: t, addr: s.addr}
			conn := s.dial("")
			_ = conn.SetNoDelay(true)
			for _, piece := range tt.pieces {
				s.send(conn, piece)
			}
			if tt.end {
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if status, body := s.answer(conn); status != tt.status || tt.body != "" && body != tt.body {
				t.Errorf("%d, %q", status, body)
			}
		})
	}
}

// TestArrivalsEnd: once the listener is closed, a connection is closed when its header has come.
func TestArrivalsEnd(t *testing.T) {
	t.Parallel()
	s := newStation(t)
	conn := s.dial("GET / HTTP/1.1\r\n")
	if status, _ := s.answer(s.dial(post + "hello")); status != http.StatusOK { // the other one is accepted
		t.Fatal(status)
	}
	_ = s.conns.Close()
	<-s.conns.over
	s.send(conn, "Host: x\r\n\r\n")
	if n, err := io.Copy(io.Discard, conn); n != 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// FuzzStateOf: what net/http takes for a whole header is whole here, in any pieces, and the other way round.
func FuzzStateOf(f *testing.F) {
	for _, text := range []string{post, "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "GET / HTTP/1.1\n\r\n", "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r", "A\n"} {
		f.Add([]byte(text), 7)
	}
	f.Fuzz(func(t *testing.T, text []byte, first int) {
		if len(text) == 0 || len(text) >= mostBytes {
			return
		}
		first = min(max(first, 1), len(text))
		state := stateOf(text[:first], 0)
		if state == headerPart && first < len(text) {
			state = stateOf(text, first)
		}
		if all := stateOf(text, 0); state != all && state != headerUnclear && state != headerWhole {
			t.Errorf("%d in two pieces, %d in one", state, all)
		}
		_, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(text))))
		if err == nil && state == headerPart {
			t.Error("net/http can read it")
		}
		if state == headerWhole && err == io.ErrUnexpectedEOF { //nolint:errorlint // net/http's own
			t.Error("net/http waits for more")
		}
	})
}
