package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/testenv"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// make writes name.crt and name.key.
func (a *authority) make(name string, template *x509.Certificate, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// redis starts a server with TLS and returns its URL; it asks clients for certificates.
func (a *authority) redis(certificate string) (url string) {
	a.t.Helper()
	addr := testenv.FreeAddr(a.t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		a.t.Fatal(err)
	}
	testenv.OwnRedis(a.t, "--tls-port", port, "--tls-cert-file", a.file(certificate+".crt"), "--tls-key-file", a.file(certificate+".key"),
		"--tls-ca-cert-file", a.file("ca.crt"), "--tls-auth-clients", "yes")
	return "rediss://" + addr
}

// TestRedisTLS runs jobs over TLS with an authority, a client certificate and a name of its own: of
// all connections, those of asynq too.
func TestRedisTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.make("server", &x509.Certificate{DNSNames: []string{"redis.test"}}, a.cert)
	a.make("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert)
	k := prepare(t, &testenv.RedisDB{URL: a.redis("server")}, "KAA_REDIS_CA_FILE="+a.file("ca.crt"), "KAA_REDIS_SERVER_NAME=redis.test",
		"KAA_REDIS_CERT_FILE="+a.file("client.crt"), "KAA_REDIS_KEY_FILE="+a.file("client.key"))
	k.startAll(1)
	if out := k.execute(fields{"code": "print(1)"}).str("stdout"); out != "1\n" {
		t.Errorf("printed %q", out)
	}
	if end := k.await(k.submit(fields{"code": "print(2)"})); end.str("result.stdout") != "2\n" {
		t.Errorf("job: %s", end.raw)
	}
}

// TestRedisTLSRefused: a start that TLS keeps from Redis ends soon, and says what is wrong and which
// setting mends it.
func TestRedisTLSRefused(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	a := newAuthority(t)
	local := []net.IP{net.ParseIP(testenv.Loopback())}
	a.make("server", &x509.Certificate{IPAddresses: local}, a.cert)
	a.make("other", &x509.Certificate{DNSNames: []string{"redis.test"}}, a.cert)
	a.make("old", &x509.Certificate{IPAddresses: local, NotAfter: time.Now().Add(-time.Hour)}, a.cert)
	good, other, old := a.redis("server"), a.redis("other"), a.redis("old")
	plain := testenv.Redis(t)
	locked := testenv.OwnRedis(t)
	if err := locked.Client(t).ConfigSet(t.Context(), "requirepass", "pw").Err(); err != nil {
		t.Fatal(err)
	}
	ca := "KAA_REDIS_CA_FILE=" + a.file("ca.crt")
	for name, tt := range map[string]struct {
		url   string
		vars  []string
		wants []string
	}{
		"unknown authority":     {good, nil, []string{"unknown authority", "KAA_REDIS_CA_FILE"}},
		"another name":          {other, []string{ca}, []string{"KAA_REDIS_SERVER_NAME"}},
		"expired":               {old, []string{ca}, []string{"is out of date"}},
		"no client certificate": {good, []string{ca}, []string{"KAA_REDIS_CERT_FILE"}},
		"no password":           {locked.URL, nil, []string{"NOAUTH", "KAA_REDIS_URL"}},
		"plain at a TLS port":   {strings.Replace(good, "rediss:", "redis:", 1), nil, []string{"rediss://"}},
		"TLS at a plain port":   {strings.Replace(plain.URL, "redis:", "rediss:", 1), nil, []string{"redis://"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logs := new(testenv.Buffer)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			environ := append(app.Environment{"KAA_ADDR=127.0.0.1:0", "KAA_REDIS_URL=" + tt.url, "KAA_BLOB_URL=file://" + t.TempDir()}, tt.vars...)
			go func() {
				done <- app.RunAPI(ctx, app.Process{Environ: environ, Stdout: io.Discard, Stderr: logs})
			}()
			// What says that it waits has the advice; some of it is hopeless, and ends the process.
			said := func(text string) bool {
				for _, want := range tt.wants {
					if !strings.Contains(text, want) {
						return false
					}
				}
				return true
			}
			testenv.Eventually(t, name, func() bool {
				select {
				case err := <-done:
					done <- err
					if err == nil || !said(err.Error()) {
						t.Fatalf("%v", err)
					}
					return true
				default:
					return said(logs.String())
				}
			})
			cancel()
			<-done
		})
	}
}

// TestRedisSettings: what is wrong with the settings stops the start before anything is asked.
func TestRedisSettings(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const secure = "KAA_REDIS_URL=rediss://h:1"
	for _, tt := range []struct {
		vars app.Environment
		want string
	}{
		{app.Environment{secure, "KAA_REDIS_CA_FILE=" + a.file("ca.crt"), "KAA_REDIS_CERT_FILE=" + a.file("ca.crt"), "KAA_REDIS_KEY_FILE=" + a.file("ca.key")}, ""},
		{app.Environment{"KAA_REDIS_URL=rediss-cluster://h:1,i:2", "KAA_REDIS_SERVER_NAME=x"}, ""},
		{app.Environment{"KAA_REDIS_CA_FILE=" + a.file("ca.crt")}, "write rediss://"},
		{app.Environment{secure, "KAA_REDIS_CA_FILE=/does/not/exist"}, "KAA_REDIS_CA_FILE: open /does/not/exist"},
		{app.Environment{secure, "KAA_REDIS_CA_FILE=" + empty}, "no certificate"},
		{app.Environment{secure, "KAA_REDIS_CERT_FILE=" + a.file("ca.crt")}, "set both"},
		{app.Environment{secure, "KAA_REDIS_CERT_FILE=" + a.file("ca.key"), "KAA_REDIS_KEY_FILE=" + a.file("ca.crt")}, "KAA_REDIS_CERT_FILE"},
	} {
		_, err := config.Load(tt.vars)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v: %v, want %q", tt.vars, err, tt.want)
		}
	}
}

// TestAliveBeforeRedis: a process that waits for Redis lives and is not ready; it is once Redis comes.
func TestAliveBeforeRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.OwnRedis(t)
	redis.Kill()
	k := prepare(t, &redis.RedisDB, "KAA_RUNNER_ADDR=127.0.0.1:0")
	for _, main := range []func(context.Context, app.Process) error{app.RunAPI, app.RunRunner} {
		ctx, cancel := context.WithCancel(context.Background())
		done, listening, ready := make(chan error, 1), make(chan net.Addr, 1), make(chan net.Addr, 1)
		p := app.Process{
			Environ: k.environ, Stdout: io.Discard, Stderr: k.logs, Periods: k.periods,
			Listening: func(a net.Addr) { listening <- a }, Ready: func(a net.Addr) { ready <- a },
		}
		go func() { done <- main(ctx, p) }()
		k.url = "http://" + (<-listening).String()
		for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
			if a := k.call(http.MethodGet, path, nil); a.status != want {
				t.Errorf("%s before Redis: %d %s", path, a.status, a.raw)
			}
		}
		redis.Restart(t)
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("it gave up: %v", err)
		}
		if a := k.call(http.MethodGet, "/readyz", nil); a.status != http.StatusOK {
			t.Errorf("with Redis: %d %s", a.status, a.raw)
		}
		redis.Kill()
		cancel()
		<-done // without Redis not all can be written, which is an error
	}
	// Somebody who ends a process that waits gets no error.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- app.RunAPI(ctx, app.Process{Environ: k.environ, Stdout: io.Discard, Stderr: k.logs, Listening: func(net.Addr) { cancel() }})
	}()
	if err := <-done; err != nil {
		t.Errorf("ended while it waits: %v", err)
	}
}

// TestRedisWarnings: a Redis that loses jobs, or throws them away, is told of at the start and in the
// answer to /readyz, of API and runner.
func TestRedisWarnings(t *testing.T) {
	t.Parallel()
	bad := testenv.OwnRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	k := prepare(t, &bad.RedisDB, "KAA_RUNNER_ADDR=127.0.0.1:0")
	for _, main := range []func(context.Context, app.Process) error{app.RunAPI, app.RunRunner} {
		addr, _ := k.run(main)
		k.url = "http://" + addr.String()
		a := k.call(http.MethodGet, "/readyz", nil)
		if a.status != http.StatusOK || !strings.Contains(a.raw, "allkeys-lru") || !strings.Contains(a.raw, "nothing on disk") {
			t.Errorf("%d %s", a.status, a.raw)
		}
	}
	if log := k.logs.String(); strings.Count(log, "allkeys-lru") != 2 || strings.Count(log, "nothing on disk") != 2 {
		t.Errorf("log: %s", log)
	}
	good := prepare(t, &testenv.OwnRedis(t, testenv.Durable()...).RedisDB)
	addr, _ := good.run(app.RunAPI)
	good.url = "http://" + addr.String()
	if a := good.call(http.MethodGet, "/readyz", nil); a.raw != `{"status":"ok"}`+"\n" && a.raw != `{"status":"ok"}` {
		t.Errorf("nothing is wrong: %s", a.raw)
	}
}

// TestClusterFailover: once a cluster has another master for Kaa's keys, Kaa works with it.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	cluster := testenv.NewRedisCluster(t)
	k := prepare(t, &testenv.RedisDB{URL: cluster.URL})
	k.startAll(1)
	accepted := []string{k.submit(fields{"code": "print('kept')"})}
	k.await(accepted[0])
	cluster.KillMasterOf(t, "{kaa}:x")
	began := time.Now()
	for refused := 0; ; refused++ {
		a := k.call(http.MethodPost, "/v1/jobs", fields{"code": "print('kept')"})
		if a.status == http.StatusAccepted {
			accepted = append(accepted, a.str("id"))
			t.Logf("it works again %s after the master died; refused %d times", time.Since(began).Round(10*time.Millisecond), refused)
			break
		}
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	testenv.Within(t, 10*time.Second, began)
	if !testenv.IsLong() && time.Since(began) > 40*time.Second {
		t.Errorf("it took %s: a client does not look for the new master", time.Since(began))
	}
	for _, id := range accepted {
		if end := k.await(id); end.str("result.stdout") != "kept\n" {
			t.Errorf("job: %s", end.raw)
		}
	}
}

// TestRedisUser: the user that docs/operations.md names may do all that Kaa asks for.
func TestRedisUser(t *testing.T) {
	t.Parallel()
	const rights = "+@all -@dangerous -@admin +info +config|get ~{kaa}:* ~asynq:* &{kaa}:* &asynq:*"
	if docs, err := os.ReadFile("../../docs/operations.md"); err != nil || !strings.Contains(string(docs), rights) {
		t.Errorf("docs/operations.md does not have %q: %v", rights, err)
	}
	redis := testenv.OwnRedis(t)
	set := []any{"ACL", "SETUSER", "kaa", "on", ">pw", "resetkeys", "resetchannels"}
	for right := range strings.FieldsSeq(rights) {
		set = append(set, right)
	}
	if err := redis.Client(t).Do(t.Context(), set...).Err(); err != nil {
		t.Fatal(err)
	}
	k := prepare(t, &testenv.RedisDB{URL: "redis://kaa:pw@" + redis.Addr})
	k.startAll(1)
	k.execute(fields{"code": "1"})
	k.in(k.open(nil), "1")
	k.call(http.MethodDelete, "/v1/jobs/"+k.submit(fields{"code": "1", "delay": 60}), nil)
	if a := k.call(http.MethodGet, "/readyz", nil); !strings.Contains(a.raw, "nothing on disk") {
		t.Errorf("warnings: %s", a.raw)
	}
	refused, err := redis.Client(t).Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil || len(refused) > 0 {
		t.Errorf("refused: %v %v", refused, err)
	}
}
