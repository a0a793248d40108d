package access_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// TestSecret: keys differ, have one form, and a text that is not quite one is told from an unknown
// key.
func TestSecret(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		secret := access.NewSecret()
		if seen[secret] || len(secret) != len("kaa_")+38 || access.CheckSecret(secret) != nil {
			t.Fatalf("%q: made twice, or not of the form of a key", secret)
		}
		seen[secret] = true
	}
	good := access.NewSecret()
	swapped := []byte(good)
	for i := 5; ; i++ {
		if swapped[i] != swapped[i-1] {
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			break
		}
	}
	for name, text := range map[string]string{
		"cut": good[:len(good)-1], "longer": good + "x", "prefix only": "kaa_", "other character": good[:10] + "-" + good[11:], "swapped": string(swapped),
	} {
		if err := access.CheckSecret(text); !errors.Is(err, access.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	if err := access.CheckSecret("a key of the operator's own"); err != nil {
		t.Errorf("a key without the prefix: %v", err)
	}
}

func described(id, tenant, secret string) access.Key {
	return access.Key{ID: id, Tenant: tenant, SHA256: access.Digest(secret)}
}

// TestKeyring: what is valid, and when what a key began ends.
func TestKeyring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := access.NewKeyring()
		a, b := described("a", "acme", "secret a"), described("b", "acme", "secret b")
		r.Set(access.SourceFile, []access.Key{a, b})
		one, err := r.Find("secret a")
		if err != nil || one.Tenant != "acme" || one.ID != "a" {
			t.Fatalf("found %+v, %v", one, err)
		}
		if _, err := r.Find("secret c"); !errors.Is(err, access.ErrUnknown) {
			t.Errorf("an unknown key: %v", err)
		}
		if _, err := r.Find(access.NewSecret()[:20]); !errors.Is(err, access.ErrDamaged) {
			t.Errorf("a key that was cut: %v", err)
		}

		// Another key comes, and the key gets an end: what it began goes on.
		a.Expires = time.Now().Add(time.Minute)
		r.Set(access.SourceFile, []access.Key{a})
		if one.Valid().Err() != nil {
			t.Error("a key that only got an end has ended what it began")
		}
		if _, err := r.Find("secret b"); !errors.Is(err, access.ErrUnknown) {
			t.Errorf("a revoked key: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := r.Find("secret a"); !errors.Is(err, access.ErrExpired) {
			t.Errorf("an expired key: %v", err)
		}
		r.Expire()
		if err := context.Cause(one.Valid()); !errors.Is(err, access.ErrExpired) {
			t.Errorf("what an expired key began: %v", err)
		}

		// It gets another end, and is valid again.
		a.Expires = time.Time{}
		r.Set(access.SourceFile, []access.Key{a})
		again, err := r.Find("secret a")
		if err != nil || again.Valid().Err() != nil {
			t.Fatalf("a key without an end: %v, %v", err, again.Valid().Err())
		}

		// Fewer rights: what it began with more of them ends.
		a.Scopes = access.Scopes{access.Read}
		r.Set(access.SourceFile, []access.Key{a})
		if err := context.Cause(again.Valid()); !errors.Is(err, access.ErrRevoked) {
			t.Errorf("what a key with other scopes began: %v", err)
		}
		// Sources are apart, and the first of them counts.
		same := described("other", "other", "secret a")
		r.Set(access.SourceRedis, []access.Key{same})
		if found, err := r.Find("secret a"); err != nil || found.ID != "a" {
			t.Errorf("a key of two sources: %+v, %v", found, err)
		}
		r.Set(access.SourceFile, nil)
		if found, err := r.Find("secret a"); err != nil || found.ID != "other" {
			t.Errorf("a key of the other source: %+v, %v", found, err)
		}
		if used := r.Used(); len(used) != 1 || used["other"].IsZero() {
			t.Errorf("used: %v", used)
		}
		if used := r.Used(); len(used) != 0 {
			t.Errorf("used since then: %v", used)
		}
	})
}

// TestLimitsOfAGrant: other limits of a key hold for what it began already, and do not end it.
func TestLimitsOfAGrant(t *testing.T) {
	t.Parallel()
	r, key := access.NewKeyring(), described("a", "acme", "secret a")
	set := func(limits *job.KeyLimits) {
		key.Limits = limits
		r.Set(access.SourceFile, []access.Key{key})
	}
	set(nil)
	g, err := r.Find("secret a")
	if err != nil || g.Limits() != nil {
		t.Fatalf("%+v, %v", g, err)
	}
	for _, most := range []int{5, 3} {
		set(&job.KeyLimits{Depth: &most})
		if g.Limits().MostWaiting() != most || g.Valid().Err() != nil {
			t.Errorf("limits are %+v, want %d; %v", g.Limits(), most, g.Valid().Err())
		}
	}
	set(nil)
	if g.Limits() != nil || g.Valid().Err() != nil {
		t.Errorf("limits are %+v, want none; %v", g.Limits(), g.Valid().Err())
	}
}

// TestReadFile: a file with a mistake is refused with the place of the mistake.
func TestReadFile(t *testing.T) {
	t.Parallel()
	sum := access.Digest("x")
	entry := func(more string) string { return `{"id": "a", "tenant": "acme", "sha256": "` + sum + `"` + more + `}` }
	for _, tt := range []struct{ name, text, wrong string }{
		{"good", `{"keys": [` + entry(`, "name": "ci", "scopes": ["read"], "expires": "2030-01-01T00:00:00Z"`) + `]}`, ""},
		{"none", `{"keys": []}`, ""},
		{"empty", ``, "it ends before"},
		{"cut", `{"keys": [`, "it ends before"},
		{"another object", `{}`, `want {"keys"`},
		{"more after it", `{"keys": []} {}`, "text after the object"},
		{"syntax", "{\"keys\": [\n\n{\"id\": }]}", "line 3"},
		{"kind", "{\"keys\": [\n{\"id\": 7}]}", "line 2"},
		{"unknown field", `{"keys": [` + entry(`, "scope": "read"`) + `]}`, `unknown field "scope"`},
		{"no tenant", `{"keys": [{"id": "a", "sha256": "` + sum + `"}]}`, "key 1: tenant"},
		{"odd tenant", `{"keys": [{"id": "a", "tenant": "a/b", "sha256": "` + sum + `"}]}`, "key 1: tenant"},
		{"the key itself", `{"keys": [{"id": "a", "tenant": "acme", "sha256": "kaa_secret"}]}`, "key 1: sha256"},
		{"scope", `{"keys": [` + entry(`, "scopes": ["write"]`) + `]}`, `"write" is none; want some of execute`},
		{"no rights", `{"keys": [` + entry(`, "scopes": []`) + `]}`, "key 1: scopes"},
		{"null", `{"keys": [` + entry(`, "scopes": null, "expires": null`) + `]}`, ""},
		{"expired in the year 1", `{"keys": [` + entry(`, "expires": "0001-01-01T00:00:00Z"`) + `]}`, "key 1: expires"},
		{"field twice", "{\"keys\": [\n" + entry(`, "scopes": ["read"], "Scopes": ["execute"]`) + `]}`, `line 2: field "Scopes" occurs twice`},
		{"keys twice", `{"keys": [` + entry("") + `], "keys": []}`, `field "keys" occurs twice`},
		{"value like a name", `{"keys": [{"id": "tenant", "tenant": "id", "name": "name", "scopes": ["read", "files"], "sha256": "` + sum + `"}, {"id": "x", "tenant": "id", "sha256": "` + access.Digest("y") + `"}]}`, ""},
		{"limits", `{"keys": [` + entry(`, "limits": {"rate": 50, "burst": 100, "concurrency": 8, "depth": 10000, "sessions": 20, "ceilings": {"timeout": 10}, "runtimes": ["python3.11"]}`) + `]}`, ""},
		{"unknown limit", `{"keys": [` + entry(`, "limits": {"rates": 50}`) + `]}`, `unknown field "rates"; a key has id, tenant,`},
		{"limit of the wrong kind", "{\"keys\": [\n" + entry(`, "limits": {"depth": "many"}`) + `]}`, "line 2"},
		{"limit that is no number of them", `{"keys": [` + entry(`, "limits": {"depth": 0}`) + `]}`, "key 1: limits.depth: must be from 1"},
		{"ceiling of what is no limit", `{"keys": [` + entry(`, "limits": {"ceilings": {"memory": 7}}`) + `]}`, `key 1: limits.ceilings: "memory" is no limit of an execution; use some of timeout,`},
		{"limit twice", `{"keys": [` + entry(`, "limits": {"depth": 1, "depth": 2}`) + `]}`, `field "depth" occurs twice`},
		{"id twice", `{"keys": [` + entry("") + `,` + entry("") + `]}`, `key 2: id "a" is that of key 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := access.ReadFile(path)
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("%v, want %q", err, tt.wrong)
			}
		})
	}
}

// TestReadFileOfAnotherKind: what is no file with text is refused, and not waited for.
func TestReadFileOfAnotherKind(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir(), "/dev/zero"} {
		if _, err := access.ReadFile(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestExpiryLongAgo: no time of expiry stands for never but the absent one.
func TestExpiryLongAgo(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Time{"epoch": time.Unix(0, 0), "before it": time.Unix(-1, 0), "year 9999 in the west": time.Date(9999, 12, 31, 0, 0, 0, 0, time.FixedZone("", -12*3600))} {
		r := access.NewKeyring()
		key := described("a", "acme", "secret a")
		key.Expires = at
		r.Set(access.SourceFile, []access.Key{key})
		if _, err := r.Find("secret a"); errors.Is(err, access.ErrExpired) != at.Before(time.Now()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	r := access.NewKeyring()
	var keys []access.Key
	for range 10000 {
		secret := access.NewSecret()
		keys = append(keys, described(access.Digest(secret)[:16], "acme", secret))
	}
	last := access.NewSecret()
	r.Set(access.SourceFile, append(keys, described("last", "acme", last)))
	for b.Loop() {
		if _, err := r.Find(last); err != nil {
			b.Fatal(err)
		}
	}
}
