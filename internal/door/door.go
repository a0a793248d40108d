// Package door is what every request passes on its way to a dialect: its id and its line in the
// access log, bounds of its body, the checks of host, origin and key, rates, and shares of
// connections and memory. It is plain net/http. A dialect says where its keys are and words refusals in its
// own shape; all else is the same for all of them.
package door

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect is a protocol that callers speak.
type Dialect interface {
	http.Handler
	// Key returns the API key that a request brings; empty for none.
	Key(r *http.Request) string
	// Public reports whether a request needs no key.
	Public(r *http.Request) bool
	// Probe reports whether a request is of those that machines send all day. They pass when the
	// process is busy, and are not logged.
	Probe(r *http.Request) bool
	// Body says how the body of a request is passed on.
	Body(r *http.Request) Body
	// Refuse answers a request that does not pass.
	Refuse(w http.ResponseWriter, r *http.Request, err error)
}

// Ticketed is a dialect of which some requests bring a ticket for one thing in place of a key.
type Ticketed interface {
	// Ticket returns the ticket of a request and the thing that it is for; empty for none.
	Ticket(r *http.Request) (ticket, thing string)
}

// Signed is a dialect of which some requests are signed with a ticket that they do not bring.
type Signed interface {
	// Signature returns what the ticket of a signed request begins with, the thing that it is for, and the check of the signature by
	// that ticket; no check for a request that is not signed.
	Signature(r *http.Request) (holder, thing string, check func(ticket string) bool)
}

// Body is a way to pass the body of a request on.
type Body = service.Body

// Observer counts for the metrics.
type Observer interface {
	// Request counts a request of a dialect: kaa, or the name of another one.
	Request(dialect, method, route string, status int, took time.Duration)
	// Problem counts what was answered with an error.
	Problem(status int, code string)
}

// Config are the parts and bounds of the door.
type Config struct {
	Service  *service.Service
	Observer Observer
	Log      *slog.Logger
	// NoAccessLog leaves out the line about each request.
	NoAccessLog bool
	// Audit gets a line about each change; nil for none. AuditExecutions includes code that is executed.
	Audit           *slog.Logger
	AuditExecutions bool

	Keys *access.Keyring // without one, every caller passes
	// Tokens judges what is no key and has the form of a token; nil where there are none.
	Tokens func(ctx context.Context, token string) (*access.Grant, error)
	// BasePath is what the addresses of all dialects begin with for callers. Requests come without it.
	BasePath string
	// Origins are patterns of hosts whose pages may call, besides this one's.
	Origins []string
	// CheckHost refuses requests whose Host is neither loopback's nor matches one of Hosts.
	CheckHost    bool
	Hosts        []string
	MaxBodyBytes int64
	MaxFileBytes int64         // of a body that is streamed; it is not held
	MaxLongBytes int64         // of one that is long
	BodyTimeout  time.Duration // how long a caller may send nothing of a body; 30 s
	// MaxRequests is how many requests may be handled at once; 0 is no limit.
	MaxRequests int64
	// Answers bounds the memory of large results; nil is no limit.
	Answers *job.Memory
	// Background counts the requests in flight. The app waits for it between cutting off
	// connections and closing Redis.
	Background *sync.WaitGroup
}

// Door is what the dialects of a process share.
type Door struct {
	cfg      Config
	requests service.Shares
	lingers  chan struct{} // has room for clients whose refused bodies are read
	keyless  keyless
}

// New returns the door of a process.
func New(cfg Config) *Door {
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = DefaultBodyTimeout
	}
	d := &Door{cfg: cfg, lingers: make(chan struct{}, lingerers)}
	d.requests.Fair(cfg.Service.Shared())
	return d
}

// DefaultBodyTimeout is how long a caller may send nothing of a body, unless configured otherwise.
const DefaultBodyTimeout = 30 * time.Second

// step is a part of the way. It answers the request itself, or calls next.
type step func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)

// Mount is where a dialect is, besides Kaa's own, which has the zero Mount.
type Mount struct {
	// Name is the name of the dialect in the access log, the audit log, the metrics and the logs of runners.
	Name string
	// Prefix is what the paths of its requests begin with. The dialect gets them without it, and finds it in its
	// service.Call.
	Prefix string
}

// own is the name of Kaa's own dialect in the metrics.
const own = "kaa"

// Handle returns the handler of Kaa's own dialect behind the door.
func (d *Door) Handle(dialect Dialect) http.Handler { return d.HandleAt(Mount{}, dialect) }

// HandleAt returns the handler of a dialect behind the door.
func (d *Door) HandleAt(m Mount, dialect Dialect) http.Handler {
	in := &entrance{Door: d, dialect: dialect, mount: m}
	handle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		boundRanges(r)
		dialect.ServeHTTP(w, r)
	})
	steps := []step{
		in.counted, in.observed, in.received, in.recovered, in.knownHost, in.crossOrigin, in.sameSite,
		in.authenticated, in.inFlight, in.limited, in.holding, in.buffered,
	}
	for _, step := range slices.Backward(steps) {
		next := handle
		handle = func(w http.ResponseWriter, r *http.Request) { step(w, r, next) }
	}
	return handle
}

// entrance is the door for one dialect.
type entrance struct {
	*Door
	dialect Dialect
	mount   Mount
}

func (in *entrance) refuse(w http.ResponseWriter, r *http.Request, err error) {
	in.dialect.Refuse(w, r, err)
}

// counted makes Background wait for the requests in flight: net/http does not, once it has
// cut off their connections.
func (in *entrance) counted(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	in.cfg.Background.Add(1)
	defer in.cfg.Background.Done()
	next(w, r)
}

// mostRanges is the number of parts of a file for which one request may ask. Each is a head of its own in the answer, and may be a
// request to the blob store.
const mostRanges = 50

// boundRanges leaves out the ranges of a request that names too many: the answer is the whole file then, as HTTP allows.
func boundRanges(r *http.Request) {
	if ranges := r.Header.Values("Range"); strings.Count(strings.Join(ranges, ","), ",") >= mostRanges {
		r.Header = r.Header.Clone()
		r.Header.Del("Range")
	}
}
