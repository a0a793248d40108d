package job_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

func TestWebhookURLs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url             string
		public, private bool // accepted if only public addresses are allowed, and if others are
	}{
		{"https://example.com/hook?x=1", true, true},
		{"https://example.com:8443", true, true},
		{"https://93.184.216.34/", true, true},
		{"https://[2606:4700::1111]:443/", true, true},
		{"http://example.com/", false, true},
		{"https://localhost/", false, true},
		{"https://LOCALHOST./", false, true},
		{"https://a.localhost/", false, true},
		{"https://127.0.0.1/", false, true},
		{"https://169.254.169.254/latest/meta-data", false, true},
		{"https://[::1]/", false, true},
		{"https://[::ffff:10.0.0.1]/", false, true},
		{"https://user:hunter2@example.com/", false, false},
		{"https://example.com/#f", false, false},
		{"https://example.com:99999/", false, false},
		{"https://", false, false},
		{"https:///path", false, false},
		{"https://:443/", false, false},
		{"example.com", false, false},
		{"ftp://example.com/", false, false},
		{"file:///etc/passwd", false, false},
		{"gopher://example.com/", false, false},
		{"https://exa mple.com/", false, false},
		{"", false, false},
		{"https://example.com/" + strings.Repeat("x", 2048), false, false},
	}
	for _, tt := range tests {
		for private, want := range map[bool]bool{false: tt.public, true: tt.private} {
			l := limits()
			l.PrivateWebhooks = private
			n, err := l.Accept(job.Request{Code: "1", Webhook: &job.WebhookRequest{URL: tt.url, Secret: "hunter2"}}, time.Now())
			j := n.Job
			if (err == nil) != want {
				t.Errorf("%q, private addresses allowed: %t: %v", tt.url, private, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: the message repeats it: %v", tt.url, err)
			}
			if err == nil && (j.Webhook == nil || j.Webhook.URL != tt.url || j.Webhook.State != job.WebhookPending) {
				t.Errorf("%q: %+v", tt.url, j.Webhook)
			}
		}
	}
	_, err := limits().Accept(job.Request{Code: "1", Webhook: &job.WebhookRequest{URL: "https://a.b", Secret: job.Secret(strings.Repeat("x", 257))}}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "webhook.secret") {
		t.Errorf("a long secret: %v", err)
	}
}

func TestPublicAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"93.184.216.34": true, "8.8.8.8": true, "2606:4700::1111": true, "100.63.255.255": true, "172.32.0.1": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "10.1.2.3": false, "100.64.0.1": false, "100.100.100.200": false, "127.0.0.1": false, "127.255.255.254": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "192.0.0.192": false, "198.18.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "168.63.129.16": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false, "::ffff:0:127.0.0.1": false, "::ffff:0:8.8.8.8": false, "64:ff9b::7f00:1": false,
		"64:ff9b:1::1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "fc00::1": false, "fd00:ec2::254": false,
		"fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
	} {
		if got := job.PublicAddress(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %t", text, got)
		}
	}
	if job.PublicAddress(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestSecretIsHidden(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	n := job.NewJob{WebhookSecret: "hunter2"}
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("s", n.WebhookSecret), slog.String("v", fmt.Sprintf("%v %+v %s", n, n, n.WebhookSecret)))
	n, err := limits().Accept(job.Request{Code: "1", Webhook: &job.WebhookRequest{URL: "https://a.b", Secret: "hunter2"}}, time.Now())
	j := n.Job
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(j)
	if err != nil || strings.Contains(log.String()+string(text), "hunter2") {
		t.Errorf("shown: %s %s %v", log.String(), text, err)
	}
}
