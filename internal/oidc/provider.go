package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// fetchTime bounds a look at the provider: two requests.
	fetchTime = 10 * time.Second
	// longestDocument bounds what the provider may answer.
	longestDocument = 1 << 20
	mostRedirects   = 3
)

// CheckURL says what is wrong with an address of the provider. Without TLS a host on the way could put other
// keys in place of the issuer's.
func CheckURL(raw string, allowHTTP bool) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("not a URL")
	}
	switch {
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("want https://host/path, without a user and a fragment")
	case u.Scheme == "https" || u.Scheme == "http" && (allowHTTP || isLoopback(u.Hostname())):
		return nil
	case u.Scheme == "http":
		return errors.New("want https://; KAA_OIDC_ALLOW_HTTP=true allows http:// elsewhere than at this host")
	}
	return errors.New("want https://")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// provider reads the documents of the issuer.
type provider struct {
	cfg    Config
	client *http.Client
}

func newProvider(cfg Config) *provider {
	p := &provider{cfg: cfg, client: cfg.Client}
	if p.client == nil {
		p.client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: 2, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: fetchTime, ForceAttemptHTTP2: true,
		}}
	}
	client := *p.client
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > mostRedirects {
			return errors.New("too many redirects")
		}
		return CheckURL(r.URL.String(), cfg.AllowHTTP)
	}
	p.client = &client
	return p
}

// discovery is what is used of OpenID Connect Discovery.
type discovery struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// keys reads the keys with which the issuer signs.
func (p *provider) keys(ctx context.Context) (keys []*signingKey, ignored int, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	place := strings.TrimSuffix(p.cfg.Issuer, "/") + "/.well-known/openid-configuration"
	if err := CheckURL(place, p.cfg.AllowHTTP); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", place, err)
	}
	var d discovery
	if err := p.get(ctx, place, &d); err != nil {
		return nil, 0, err
	}
	if d.Issuer != p.cfg.Issuer {
		return nil, 0, fmt.Errorf("%s: the issuer there is %q, and KAA_OIDC_ISSUER is %q; the two must be the same, to the last slash", place, clipped(d.Issuer), p.cfg.Issuer)
	}
	if err := CheckURL(d.JWKSURI, p.cfg.AllowHTTP); err != nil {
		return nil, 0, fmt.Errorf("%s: jwks_uri %q: %w", place, clipped(d.JWKSURI), err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := p.get(ctx, d.JWKSURI, &set); err != nil {
		return nil, 0, err
	}
	for _, raw := range set.Keys {
		if k := parseKey(raw); k != nil {
			keys = append(keys, k)
		} else {
			ignored++
		}
	}
	if len(keys) == 0 {
		return nil, ignored, fmt.Errorf("%s: none of %d keys is a public key for signatures that Kaa takes", d.JWKSURI, len(set.Keys))
	}
	return keys, ignored, nil
}

// get reads a JSON document.
func (p *provider) get(ctx context.Context, place string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return fmt.Errorf("ask the identity provider: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	response, err := p.client.Do(r)
	if err != nil {
		return fmt.Errorf("ask the identity provider: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: answered with status %d", place, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, longestDocument+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", place, err)
	case len(text) > longestDocument:
		return fmt.Errorf("%s: the answer is larger than %d bytes", place, longestDocument)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: the answer is not the JSON that it should be: %w", place, err)
	}
	return nil
}

// Probe reads the keys of the issuer once, and returns their number.
func Probe(ctx context.Context, cfg Config) (int, error) {
	keys, _, err := newProvider(cfg).keys(ctx)
	return len(keys), err
}

// clipped bounds a text of the provider in a message.
func clipped(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
