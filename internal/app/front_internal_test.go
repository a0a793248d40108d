package app

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app/config"
)

// TestLoopbackPorts: the API listens at each further port, of 127.0.0.1 only, and does not start if another program has one.
func TestLoopbackPorts(t *testing.T) {
	t.Parallel()
	s := &shared{cfg: config.Config{LoopbackPorts: []uint16{0, 0}}, log: slog.New(slog.DiscardHandler)} // 0 is any free port
	all, err := s.listenLocally(t.Context())
	if err != nil || len(all) != len(s.cfg.LoopbackPorts) {
		t.Fatalf("%d listeners, %v", len(all), err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
	t.Cleanup(func() { _ = server.Close() })
	for _, one := range all {
		addr, _ := one.Addr().(*net.TCPAddr)
		if addr == nil || !addr.IP.IsLoopback() {
			t.Errorf("listens at %s", one.Addr())
		}
		go func() { _ = server.Serve(one) }()
		res, err := http.Get("http://" + one.Addr().String()) //nolint:noctx // it is answered at once
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != "here" {
			t.Errorf("%s: %q %v", one.Addr(), body, err)
		}
	}
	taken, _ := all[0].Addr().(*net.TCPAddr)
	s.cfg.LoopbackPorts = []uint16{0, uint16(taken.Port)}
	if _, err := s.listenLocally(t.Context()); err == nil || !strings.Contains(err.Error(), "KAA_LOOPBACK_PORTS") {
		t.Errorf("a port that another program has: %v", err)
	}
	s.cfg.Addr = "127.0.0.1:0"
	if f, err := s.openFront(t.Context()); err == nil || !strings.Contains(err.Error(), "KAA_LOOPBACK_PORTS") {
		t.Errorf("the API starts without a port: %+v %v", f, err)
	}
}
