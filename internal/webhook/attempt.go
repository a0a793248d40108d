package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/netguard"
)

const (
	maxAnswer        = 64 << 10 // bytes of an answer that are read and discarded
	maxAnswerHeaders = 64 << 10
	idleConnections  = 64
	idleFor          = 30 * time.Second
)

// newClient returns a client for URLs of callers, which are not trusted.
func newClient(allowPrivate bool) *http.Client {
	dialer := &net.Dialer{KeepAlive: idleFor}
	if !allowPrivate {
		dialer.Control = netguard.Guard{}.Control
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:       nil, // a proxy of the environment would connect without these checks
			DialContext: dialer.DialContext,
			// HTTP/1.1 only: with HTTP/2 the webhooks of all callers to a host would share a connection, and a receiver that does not read would stop it for all.
			TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{},
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:    idleConnections, IdleConnTimeout: idleFor, MaxResponseHeaderBytes: maxAnswerHeaders,
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// attempt is the outcome of one attempt.
type attempt struct {
	status     int    // 0 without an answer
	problem    string // for the job's owner; empty if it was delivered
	again      bool   // worth another attempt
	retryAfter time.Duration
}

// attempt posts one webhook. An error means that the attempt could not begin.
func (d *Deliverer) attempt(ctx context.Context, t job.Delivery) (attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	if err := context.Cause(ctx); errors.Is(err, errCrowded) {
		return attempt{}, err
	}
	held := d.cfg.Memory.For(t.Owner)
	defer held.Release()
	url, body, err := d.message(held.In(ctx), t)
	if err != nil {
		return attempt{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return attempt{problem: "the URL cannot be used"}, nil //nolint:nilerr // the owner's error
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", d.cfg.UserAgent)
	if t.BatchID != "" {
		req.Header.Set("Kaa-Batch-Id", t.BatchID)
	} else {
		req.Header.Set("Kaa-Job-Id", t.JobID)
	}
	req.Header.Set("Kaa-Attempt", strconv.Itoa(t.Attempt))
	if t.Secret != "" {
		req.Header.Set("Kaa-Signature", signature(t.Secret, time.Now(), body))
	}
	host := t.Owner + " " + req.URL.Host // what one key's receiver does says nothing about another one at the same host
	if !d.hosts.mayTry(host, time.Now()) {
		return attempt{problem: "its host failed several times in a row, so it was not tried", again: true}, nil
	}
	res, err := d.client.Do(req)
	if err != nil {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errCrowded) { // this process's own limit or stop
			d.hosts.failed(host, time.Now())
		}
		return attempt{problem: d.wording(err), again: !errors.Is(err, netguard.ErrNotPublic)}, nil
	}
	defer func() { _ = res.Body.Close() }()
	d.hosts.answered(host)
	// The rest of the body is read so that the connection can be reused.
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	return judge(res), nil
}

// message returns where a webhook goes, and its body.
func (d *Deliverer) message(ctx context.Context, t job.Delivery) (url string, body []byte, err error) {
	if t.BatchID == "" {
		j, err := d.cfg.Records.Get(ctx, t.JobID)
		if err != nil {
			return "", nil, err
		}
		if j.Webhook == nil {
			return "", nil, job.ErrGone
		}
		if body, err = d.cfg.Body(j); err != nil {
			return "", nil, fmt.Errorf("write message: %w", err)
		}
		return j.Webhook.URL, body, nil
	}
	b, err := d.cfg.Records.Batch(ctx, t.BatchID)
	if errors.Is(err, job.ErrNoBatch) || err == nil && b.Hook == nil {
		err = job.ErrGone
	}
	if err != nil {
		return "", nil, err
	}
	if body, err = d.cfg.BatchBody(b, t.Percent); err != nil {
		return "", nil, fmt.Errorf("write message: %w", err)
	}
	return b.Hook.URL, body, nil
}

// judge turns an answer into an outcome.
func judge(res *http.Response) attempt {
	a := attempt{status: res.StatusCode}
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return a
	case res.StatusCode >= 300 && res.StatusCode < 400:
		a.problem = "redirects are not followed"
		return a
	}
	a.problem = "the receiver answered " + strconv.Itoa(res.StatusCode)
	a.again = res.StatusCode >= 500 || res.StatusCode == http.StatusRequestTimeout || res.StatusCode == http.StatusTooManyRequests
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		a.retryAfter = time.Duration(min(seconds, int(lastPause/time.Second))) * time.Second
	}
	return a
}

// signature is the value of Kaa-Signature: the time, and a keyed hash of time and body that
// needs the secret.
func signature(secret job.Secret, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(t + ".")) // a hash never fails
	_, _ = mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// wording says why there was no answer, without the addresses that the error names, because they
// reveal Kaa's network.
func (d *Deliverer) wording(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "there is no such host"
	}
	var timeout net.Error
	switch {
	case errors.Is(err, netguard.ErrNotPublic):
		return netguard.ErrNotPublic.Error()
	case errors.Is(err, context.Canceled):
		return "it was broken off"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer within " + d.cfg.Timeout.String()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.As(err, new(*net.DNSError)):
		return "its host could not be looked up"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "its TLS certificate is not valid"
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"): // net/http has no error of its own for it
		return "it does not speak TLS"
	default:
		return "the connection failed"
	}
}
