package store_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// The directory has the records that each version wrote, v<version>.json, and beside each file the
// picture that a reader must have of them. docs/contributing/schema.md says when a file is added.
const recordsDir = "testdata/records"

// record is a key of Redis. Times are placeholders, relative to the time at which the file was
// written: <now-17> in milliseconds, <now+17us> in microseconds. What is no text is <base64> and its bytes in base64.
type record struct {
	Type    string            `json:"type"`
	Expires bool              `json:"expires,omitempty"`
	Text    string            `json:"text,omitempty"`    // of a string
	Fields  map[string]string `json:"fields,omitempty"`  // of a hash; of a sorted set: scores by member
	Members []string          `json:"members,omitempty"` // of a set, or of a list
	Entries []entry           `json:"entries,omitempty"` // of a stream
}

type entry struct {
	ID     string         `json:"id"`
	Values map[string]any `json:"values"`
}

var (
	timeOfRedis = regexp.MustCompile(`\b1\d{12}(\d{3})?\b`)
	placeholder = regexp.MustCompile(`<now([+-]\d+)(us)?>`)
)

const binary = "<base64>"

// relative replaces times that are near now by placeholders.
func relative(text string, now time.Time) string {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return binary + base64.StdEncoding.EncodeToString([]byte(text))
	}
	return timeOfRedis.ReplaceAllStringFunc(text, func(digits string) string {
		n, _ := strconv.ParseInt(digits, 10, 64) // they are digits
		at, unit := n-now.UnixMilli(), ""
		if len(digits) == len("1000000000000000") {
			at, unit = n-now.UnixMicro(), "us"
		}
		if time.UnixMilli(n).Sub(now).Abs() > 48*time.Hour && unit == "" {
			return digits
		}
		sign := "+"
		if at < 0 {
			sign = ""
		}
		return "<now" + sign + strconv.FormatInt(at, 10) + unit + ">"
	})
}

// Keys and entries of usage have the number of the day, for which <today> stands.
const usageKeys = "{kaa}:usage:"

var dayOfUsage = regexp.MustCompile(`\b\d{5}\b`)

func dayless(text string, now time.Time) string {
	return dayOfUsage.ReplaceAllStringFunc(text, func(digits string) string {
		if n, _ := strconv.ParseInt(digits, 10, 64); n == now.Unix()/86400 || n == now.Unix()/86400-1 {
			return "<today>"
		}
		return digits
	})
}

func (r record) dayless(now time.Time) record {
	for i, m := range r.Members {
		r.Members[i] = dayless(m, now)
	}
	return r
}

// absolute replaces placeholders by times.
func absolute(text string, now time.Time) string {
	if data, ok := strings.CutPrefix(text, binary); ok {
		raw, _ := base64.StdEncoding.DecodeString(data) // dump wrote it
		return string(raw)
	}
	text = strings.ReplaceAll(text, "<today>", strconv.FormatInt(now.Unix()/86400, 10))
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		n, _ := strconv.ParseInt(m[1], 10, 64) // they are digits
		if m[2] != "" {
			return strconv.FormatInt(now.UnixMicro()+n, 10)
		}
		return strconv.FormatInt(now.UnixMilli()+n, 10)
	})
}

// dump reads Kaa's records. It leaves out the fleet, which is a cache of two seconds.
func dump(t *testing.T, rdb *redis.Client) map[string]record {
	t.Helper()
	ctx := t.Context()
	now := clock(t, rdb)
	all := map[string]record{}
	for _, key := range rdb.Keys(ctx, "{kaa}:*").Val() {
		if strings.HasPrefix(key, "{kaa}:fleet:") {
			continue
		}
		r := record{Type: rdb.Type(ctx, key).Val(), Expires: rdb.TTL(ctx, key).Val() > 0}
		switch r.Type {
		case "string":
			r.Text = relative(rdb.Get(ctx, key).Val(), now)
		case "hash":
			r.Fields = map[string]string{}
			for field, value := range rdb.HGetAll(ctx, key).Val() {
				r.Fields[field] = relative(value, now)
			}
		case "set":
			r.Members = rdb.SMembers(ctx, key).Val()
			slices.Sort(r.Members)
		case "list":
			r.Members = rdb.LRange(ctx, key, 0, -1).Val()
		case "zset":
			r.Fields = map[string]string{}
			for _, z := range rdb.ZRangeWithScores(ctx, key, 0, -1).Val() {
				member, _ := z.Member.(string)
				r.Fields[relative(member, now)] = relative(strconv.FormatFloat(z.Score, 'f', -1, 64), now)
			}
		case "stream":
			for _, m := range rdb.XRange(ctx, key, "-", "+").Val() {
				r.Entries = append(r.Entries, entry{m.ID, m.Values})
			}
		default:
			t.Fatalf("%s is a %s", key, r.Type)
		}
		if strings.HasPrefix(key, usageKeys) {
			key, r = dayless(key, now), r.dayless(now)
		}
		all[relative(key, now)] = r
	}
	return all
}

// load writes records into an empty database. What expires does so in an hour, so that no time of
// the machine matters. It returns the time for which the placeholders stand.
func load(t *testing.T, rdb *redis.Client, all map[string]record) time.Time {
	t.Helper()
	ctx := t.Context()
	now := clock(t, rdb)
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for key, r := range all {
			write(ctx, p, absolute(key, now), r, now)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func write(ctx context.Context, p redis.Pipeliner, key string, r record, now time.Time) {
	switch r.Type {
	case "string":
		p.Set(ctx, key, absolute(r.Text, now), 0)
	case "hash":
		for field, value := range r.Fields {
			p.HSet(ctx, key, field, absolute(value, now))
		}
	case "set":
		for _, m := range r.Members {
			p.SAdd(ctx, key, m)
		}
	case "list":
		for _, m := range r.Members {
			p.RPush(ctx, key, absolute(m, now))
		}
	case "zset":
		for member, score := range r.Fields {
			p.Do(ctx, "ZADD", key, absolute(score, now), absolute(member, now))
		}
	case "stream":
		for _, e := range r.Entries {
			p.XAdd(ctx, &redis.XAddArgs{Stream: key, ID: e.ID, Values: e.Values})
		}
	}
	if r.Expires {
		p.Expire(ctx, key, time.Hour)
	}
}

func clock(t *testing.T, rdb *redis.Client) time.Time {
	t.Helper()
	now, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now.Truncate(time.Millisecond).UTC()
}

func readRecords(t *testing.T, file string) map[string]record {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]record
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return all
}

func pictureFile(records string) string { return strings.TrimSuffix(records, ".json") + ".txt" }

// currentRecords are the files of this version: the one of its beginning, and those with kinds of records that came later.
func currentRecords(t *testing.T) []string {
	t.Helper()
	version := filepath.Join(recordsDir, "v"+strconv.Itoa(store.SchemaVersion))
	later, err := filepath.Glob(version + "-*.json")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{version + ".json"}, later...)
}

// TestWritesRecords: all keys and fields that this version's records had at first are still
// written, because processes of this version need them. With KAA_RECORDS=write it writes the
// files of a new version, and with KAA_RECORDS=write-NAME those of this version with kinds that are new, v1-NAME.json.
func TestWritesRecords(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	writeScenario(t, rdb)
	now := dump(t, rdb)
	if name, ok := strings.CutPrefix(os.Getenv("KAA_RECORDS"), "write"); ok {
		saveRecords(t, now, strings.TrimSuffix(currentRecords(t)[0], ".json")+name+".json")
	}
	has := shape(now)
	for _, file := range currentRecords(t) {
		for key, fields := range shape(readRecords(t, file)) {
			written, ok := has[key]
			if !ok {
				t.Errorf("%s is not written any more: see docs/contributing/schema.md", key)
				continue
			}
			for _, f := range fields {
				if !slices.Contains(written, f) {
					t.Errorf("%s: %s is not written any more: see docs/contributing/schema.md", key, f)
				}
			}
		}
	}
}

// shape has the types and fields of records by their keys, without times.
func shape(all map[string]record) map[string][]string {
	untimed := func(text string) string { return placeholder.ReplaceAllString(text, "<time>") }
	shapes := map[string][]string{}
	for key, r := range all {
		s := append(shapes[untimed(key)], "type "+r.Type)
		for field := range r.Fields {
			s = append(s, "field "+untimed(field))
		}
		for _, m := range r.Members {
			s = append(s, "member "+m)
		}
		for _, e := range r.Entries {
			s = append(s, "entry "+e.ID)
			for _, name := range slices.Sorted(maps.Keys(e.Values)) {
				s = append(s, "value "+name)
			}
		}
		shapes[untimed(key)] = s
	}
	return shapes
}

// saveRecords writes the files of a version that has none.
func saveRecords(t *testing.T, all map[string]record, file string) {
	t.Helper()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(all); err != nil || !utf8.Valid(text.Bytes()) || strings.ContainsRune(text.String(), utf8.RuneError) {
		t.Fatalf("the records are no text: %v", err)
	}
	rdb := testenv.Redis(t).Client(t)
	files := map[string][]byte{file: text.Bytes()}
	files[pictureFile(file)] = []byte(picture(t, rdb, load(t, rdb, all)))
	for name, content := range files {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s exists: records that were written once never change (%v)", name, err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadsOldRecords: what each version wrote is read as that version read it, and goes on.
func TestReadsOldRecords(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(recordsDir, "v*.json"))
	if err != nil || !slices.Contains(files, currentRecords(t)[0]) {
		t.Fatalf("no records of this version among %v %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			all := readRecords(t, file)
			t.Run("picture", func(t *testing.T) {
				t.Parallel()
				want, err := os.ReadFile(pictureFile(file))
				if err != nil {
					t.Fatal(err)
				}
				rdb := testenv.Redis(t).Client(t)
				if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(picture(t, rdb, load(t, rdb, all)), "\n")); diff != "" {
					t.Errorf("what is read (-want +got):\n%s", diff)
				}
			})
			for name, work := range oldWork() {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					rdb := testenv.Redis(t).Client(t)
					load(t, rdb, all)
					b := &bundle{Store: store.New(rdb, store.Config{RunnerTTL: time.Hour}), rdb: rdb, runner: oldRunner}
					if _, err := b.AgreeOnSchema(t.Context()); err != nil {
						t.Fatal(err)
					}
					work(t, b)
					if repaired, err := b.Mend(t.Context(), []string{"default", job.SessionQueue}, 1000); err != nil || len(repaired) > 0 {
						t.Errorf("afterwards the listings need repairs: %v %v", repaired, err)
					}
				})
			}
		})
	}
}
