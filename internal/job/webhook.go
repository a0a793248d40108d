package job

import (
	"log/slog"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Secret is a value that logs and messages do not show.
type Secret string

func (Secret) String() string { return "***" }

// LogValue hides it from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// WebhookRequest requests a message at a job's end.
type WebhookRequest struct {
	URL    string
	Secret Secret // signs it; empty for no signature
}

// WebhookState is the state of a delivery.
type WebhookState string

// The states of a webhook.
const (
	WebhookPending   WebhookState = "pending"   // the job has not ended, or the message is not delivered yet
	WebhookDelivered WebhookState = "delivered" // the receiver has accepted it
	WebhookFailed    WebhookState = "failed"    // given up
)

// Webhook is the part of a webhook that its job shows.
type Webhook struct {
	URL        string       `json:"url" doc:"Where the message goes."`
	State      WebhookState `json:"state" enum:"pending,delivered,failed" doc:"pending (the job has not ended, or the message is not delivered yet), delivered, failed (given up)."`
	Attempts   int          `json:"attempts" doc:"How often it was tried."`
	LastStatus int          `json:"lastStatus,omitempty" doc:"HTTP status of the last answer. Absent if there was none."`
	LastError  string       `json:"lastError,omitempty" doc:"The fault of the last attempt."`
}

// Delivery is one attempt to deliver a webhook. It is fenced by its number.
type Delivery struct {
	JobID string // empty if it is of a batch
	// BatchID is the batch, and Percent how much of it had ended.
	BatchID string
	Percent int
	Attempt int
	Secret  Secret
	Owner   string // of the job or the batch; empty if the caller had no key
	// Age is the time since the job's end, or since so much of the batch had ended.
	Age time.Duration
}

// BatchHook is the part of a webhook that its batch shows.
type BatchHook struct {
	URL        string `json:"url" doc:"Where the messages go."`
	Percent    int    `json:"percent,omitempty" doc:"There is a message whenever so many percent of the jobs have ended. Absent: one at the end."`
	Pending    int    `json:"pending" doc:"Messages that are due and not delivered yet."`
	Delivered  int    `json:"delivered" doc:"Messages that the receiver has accepted."`
	Failed     int    `json:"failed" doc:"Messages that were given up."`
	LastStatus int    `json:"lastStatus,omitempty" doc:"HTTP status of the last answer. Absent if there was none."`
	LastError  string `json:"lastError,omitempty" doc:"The fault of the last attempt."`
}

// BatchHookRequest requests messages about a batch.
type BatchHookRequest struct {
	WebhookRequest
	Percent *int
}

// Report is the outcome of an attempt: the webhook's new state, with its data.
type Report struct {
	State  WebhookState
	Next   time.Duration // until the next attempt, while it is pending
	Status int           // 0 if there was no answer
	Error  string
}

const (
	maxWebhookURL    = 2048
	maxWebhookSecret = 256
)

// webhook checks the request for one.
func (l Limits) webhook(v *validation, r *WebhookRequest) *Webhook {
	if r == nil {
		return nil
	}
	if len(r.Secret) > maxWebhookSecret {
		v.add("webhook.secret", "is %d bytes long, the limit is %d", len(r.Secret), maxWebhookSecret)
	}
	if why := l.checkWebhookURL(r.URL); why != "" {
		v.add("webhook.url", "%s", why)
	}
	return &Webhook{URL: r.URL, State: WebhookPending}
}

// checkWebhookURL returns the fault of a URL. It never repeats the URL, which may contain a
// secret.
func (l Limits) checkWebhookURL(raw string) string {
	if len(raw) > maxWebhookURL {
		return "is too long; the limit is " + strconv.Itoa(maxWebhookURL) + " bytes"
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" || !utf8.ValidString(raw) {
		return "is not a URL; send https://host/path"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "has a port that is not one"
		}
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !l.PrivateWebhooks):
		return "must begin with https://"
	case u.User != nil:
		return "must not hold a user or a password; check the signature instead"
	case u.Fragment != "":
		return "must not have a fragment (#…)"
	case l.PrivateWebhooks:
		return ""
	}
	const private = "is not a public address, which this Kaa does not call; the operator can set KAA_WEBHOOK_ALLOW_PRIVATE=true"
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return private
	}
	// Names are checked when they are resolved, for each attempt.
	if a, err := netip.ParseAddr(host); err == nil && !PublicAddress(a) {
		return private
	}
	return ""
}

// notPublic are the addresses that lead into a private network, or nowhere: IANA's
// special-purpose registries without the globally reachable entries.
var notPublic = prefixes( //nolint:gochecknoglobals // a constant table
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4",
	"168.63.129.16/32", // the metadata and DNS of Azure's machines
	"::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
	"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		all[i] = netip.MustParsePrefix(t)
	}
	return all
}

// PublicAddress reports whether an address is one of the public internet. Addresses of this
// machine, of its network or of its cloud's metadata are not, in any notation.
func PublicAddress(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
