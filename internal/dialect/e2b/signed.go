package e2b

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// tokens are those of sandboxes that this process has given out, or found. A signed URL of a file names no sandbox: it is found by the token
// that the signature was made with.
type tokens struct {
	mu    sync.Mutex
	all   map[string]string // by session
	order []string          // the sessions, the first noted one first
}

func (t *tokens) note(session, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]string{}
	}
	if _, known := t.all[session]; !known {
		t.order = append(t.order, session)
	}
	t.all[session] = token
	if len(t.order) > mostTokens {
		delete(t.all, t.order[0])
		t.order = t.order[1:]
	}
}

// mostTokens bounds the work that a URL with a wrong signature makes: anyone may send one.
const mostTokens = 2000

// mostSigned is the length of the text that is signed, without the token and the end.
const mostSigned = 4 << 10

// signed returns the text of a URL that is signed, before and after the token.
func signed(r *http.Request) (before, after string) {
	q, op := r.URL.Query(), "read"
	if r.Method == http.MethodPost {
		op = "write"
	}
	if until := q.Get("signature_expiration"); until != "" {
		after = ":" + until
	}
	return q.Get("path") + ":" + op + ":" + q.Get("username") + ":", after
}

// signature begins all signatures.
const signature = "v1_"

// digestOf is the digest that a signature has; nil if it has none.
func digestOf(given string) []byte {
	text, ok := strings.CutPrefix(given, signature)
	sum, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
}

// isSigned reports whether a request is one for a signed URL.
func isSigned(r *http.Request) bool {
	return r.URL.Path == "/files" && r.Header.Get(sandboxHeader) == "" && r.URL.Query().Get("signature") != ""
}

// hasExpired reports whether the time of a signed URL is over, or cannot be read.
func hasExpired(r *http.Request) bool {
	text := r.URL.Query().Get("signature_expiration")
	if text == "" {
		return false
	}
	until, err := strconv.ParseInt(text, 10, 64)
	return err != nil || time.Now().Unix() > until
}

// proof is what a signed URL has been made with a token by.
type proof struct {
	common hash.Hash // of the long part of the text, which is the same for all tokens
	after  string
	given  []byte
}

// proofOf returns that of a URL; nil if it cannot be right.
func proofOf(r *http.Request) *proof {
	given := digestOf(r.URL.Query().Get("signature"))
	before, after := signed(r)
	if hasExpired(r) || given == nil || len(before) > mostSigned {
		return nil
	}
	common := sha256.New()
	common.Write([]byte(before))
	return &proof{common, after, given}
}

// is reports whether the URL is signed with a token.
func (p *proof) is(token string) bool {
	own := cloned(p.common)
	own.Write([]byte(token + p.after))
	return subtle.ConstantTimeCompare(own.Sum(nil), p.given) == 1
}

// signer finds the sandbox whose token a URL is signed with, and that token.
func (t *tokens) signer(p *proof) (session, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for session, token := range t.all {
		if p.is(token) {
			return session, token
		}
	}
	return "", ""
}

// signer finds the sandbox whose token a URL is signed with, and that token: one that this process has given out, or that another one may have.
func (d *Dialect) signer(r *http.Request) (session, token string) {
	p := proofOf(r)
	if p == nil {
		return "", ""
	}
	if session, token = d.tokens.signer(p); session != "" {
		return session, token
	}
	began := time.Now()
	one, ok := p.among(d.others.known())
	if !ok {
		one, ok = p.among(d.others.since(r.Context(), d.service, began))
	}
	if ok {
		d.tokens.note(one.Session, one.Ticket)
	}
	return one.Session, one.Ticket
}

// among finds the token that the URL is signed with.
func (p *proof) among(all []service.SessionTicket) (service.SessionTicket, bool) {
	for _, one := range all {
		if p.is(one.Ticket) {
			return one, true
		}
	}
	return service.SessionTicket{}, false
}

// others are the tokens of the live sandboxes, whichever process has given them out.
type others struct {
	mu  sync.Mutex
	at  time.Time // when they were read
	all []service.SessionTicket
}

// othersAge is how long they are kept at least, because anyone may send URLs with wrong signatures.
const othersAge = time.Second

func (o *others) known() []service.SessionTicket {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all
}

// since returns them as they were then, or later. It waits until they may be read again.
func (o *others) since(ctx context.Context, from *service.Service, then time.Time) []service.SessionTicket {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.Before(then) {
		return o.all
	}
	select {
	case <-time.After(time.Until(o.at.Add(othersAge))):
	case <-ctx.Done():
		return nil
	}
	now := time.Now()
	all, err := from.SessionTickets(ctx, mostTokens, func(se job.Session) string {
		if _, made := membersOf(se)[detailsName]; !made {
			return ""
		}
		return accessTo(se.ID)
	})
	if err != nil { // the former ones have to do
		return o.all
	}
	o.at, o.all = now, all
	return all
}

// cloned is a hash with what was written to another one so far.
func cloned(of hash.Hash) hash.Hash {
	cloner, ok := of.(hash.Cloner)
	if !ok {
		panic("SHA-256 cannot be cloned") // it can
	}
	same, err := cloner.Clone()
	if err != nil {
		panic(err) // it can
	}
	return same
}
