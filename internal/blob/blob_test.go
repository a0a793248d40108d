package blob_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/blob"
	"github.com/kaa-run/kaa/internal/blob/s3"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv("KAA_TEST_S3") == "" {
		_ = os.Setenv("AWS_ACCESS_KEY_ID", testenv.S3User) // names without NUL cannot fail
		_ = os.Setenv("AWS_SECRET_ACCESS_KEY", "kept by nobody")
	}
	os.Exit(testenv.Main(m))
}

// places are the stores that every test of behaviour runs on. KAA_TEST_S3 names a bucket
// (s3://…) to include a real one, with credentials of the environment.
func places(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{
		"memory":    "mem://",
		"directory": "file://" + filepath.Join(t.TempDir(), "made", "here"),
		"bucket":    testenv.NewS3(t, "kaa-files").URL(),
		"shared":    testenv.NewS3(t, "kaa-files").URL() + "&prefix=of/kaa/",
	}
	if bucket := os.Getenv("KAA_TEST_S3"); bucket != "" {
		all = map[string]string{"s3": bucket}
	}
	return all
}

func open(t *testing.T, place string) *blob.Store {
	t.Helper()
	s, err := blob.New(place, s3.Open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, place)
			ctx := t.Context()
			if keys, err := s.List(ctx, "", time.Time{}); err != nil || name != "s3" && len(keys) > 0 {
				t.Errorf("a store that nobody has used has %v, %v", keys, err)
			}
			content := "bytes \x00\xff" + strings.Repeat("more ", 10_000)
			for _, key := range []string{"ab/job-1.in.0", "ab/job-1.1.0", "ab/job-10.1.0"} {
				if n, err := s.Put(ctx, key, strings.NewReader(content)); err != nil || n != int64(len(content)) {
					t.Fatalf("put %s: %d, %v", key, n, err)
				}
			}
			if got := read(t, s, "ab/job-1.in.0", 6); got != content[6:] {
				t.Errorf("read from the 6th byte: %d bytes, want %d", len(got), len(content)-6)
			}
			if _, err := s.Open(ctx, "ab/job-1.2.0"); !errors.Is(err, job.ErrNoFile) {
				t.Errorf("open what is not there: %v, want ErrNoFile", err)
			}
			if err := s.DeleteAll(ctx, "ab/job-1."); err != nil {
				t.Fatal(err)
			}
			keys, err := s.List(ctx, "ab/", time.Time{})
			if diff := cmp.Diff([]string{"ab/job-10.1.0"}, keys); diff != "" || err != nil {
				t.Errorf("left after the deletion (-want +got): %v\n%s", err, diff)
			}
			if keys, err := s.List(ctx, "ab/", time.Now().Add(-time.Hour)); err != nil || len(keys) > 0 {
				t.Errorf("older than an hour: %v, %v", keys, err)
			}
			if err := s.Delete(ctx, "ab/job-10.1.0", "ab/job-10.1.0"); err != nil {
				t.Errorf("delete twice: %v", err)
			}
		})
	}
}

func read(t *testing.T, s *blob.Store, key string, from int64) string {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Seek(from, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNothingHalf: a blob whose content broke off, or whose writer gave up, is not there,
// nor is anything in its place.
func TestNothingHalf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, "file://"+dir)
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), iotest.ErrReader(errors.New("gone")))
	if _, err := s.Put(t.Context(), "ab/a.1.0", broken); err == nil || errors.Is(err, job.ErrUnavailable) {
		t.Errorf("content that breaks off: %v, want an error that is not the store's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "ab/b.1.0", strings.NewReader("x")); err == nil {
		t.Error("a put whose context has ended succeeds")
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	for place, ok := range map[string]bool{
		"file:///var/lib/kaa": true, "s3://bucket?region=eu-central-1": true, "mem://": true,
		"s3://bucket": true, "s3://bucket?endpoint=http://[::1]:9000/&use_path_style=true&prefix=a/&profile=me": true,
		"": false, "/var/lib/kaa": false, "file://here/x": false, "file:///x?metadata=": false, "s3://": false, "ftp://x": false, "s3://%zz": false,
		"s3://bucket/kaa": false, "s3://me:secret@bucket": false, "s3://bucket?regio=x": false, "s3://bucket?use_path_style=yes": false,
		"s3://bucket?endpoint=localhost:9000": false, "s3://bucket?endpoint=https://host/path": false, "s3://bucket?region=%zz": false,
	} {
		_, err := blob.New(place, s3.Open)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want it to be fine: %v", place, err, ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows a secret: %v", place, err)
		}
	}
	if _, err := blob.New("s3://bucket?region=eu-central-1", nil); err == nil || !strings.Contains(err.Error(), "bin/api") {
		t.Errorf("a binary without a client for buckets: %v, want to be told which have one", err)
	}
}

// TestUnavailable: what cannot be reached is worth a retry, and is tried anew each time.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	occupied := filepath.Join(dir, "blobs")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, "file://"+occupied)
	if _, err := s.Put(t.Context(), "ab/a.1.0", strings.NewReader("x")); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a file instead of a directory: %v, want ErrUnavailable", err)
	}
	if err := os.Remove(occupied); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "ab/a.1.0", strings.NewReader("x")); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// TestSquatter: where everybody may make directories, only one of our own is used.
func TestSquatter(t *testing.T) {
	t.Parallel()
	shared := t.TempDir()
	if err := os.Chmod(shared, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	prepare := map[string]func(path string) error{
		"open": func(path string) error { return errors.Join(os.Mkdir(path, 0o755), os.Chmod(path, 0o777)) },
		"link": func(path string) error { return os.Symlink(t.TempDir(), path) },
	}
	for name, prepare := range prepare {
		path := filepath.Join(shared, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		s := open(t, "file://"+path)
		if _, err := s.Put(t.Context(), "ab/a.1.0", strings.NewReader("x")); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	s := open(t, "file://"+filepath.Join(shared, "ours"))
	if _, err := s.Put(t.Context(), "ab/a.1.0", strings.NewReader("x")); err != nil {
		t.Errorf("our own: %v", err)
	}
}

// TestParts: a large blob goes to a bucket in parts, comes back as it was, and leaves none of
// them behind when it breaks off.
func TestParts(t *testing.T) {
	t.Parallel()
	fake := testenv.NewS3(t, "kaa-files")
	s := open(t, fake.URL())
	const size = 20 << 20
	content := strings.Repeat("0123456789abcdef", size/16)
	if n, err := s.Put(t.Context(), "ab/large.1.0", io.MultiReader(strings.NewReader(content))); n != size || err != nil {
		t.Fatalf("put: %d, %v", n, err)
	}
	if got := read(t, s, "ab/large.1.0", 3); got != content[3:] {
		t.Errorf("read from the 3rd byte: %d bytes, or others", len(got))
	}
	if most := fake.Largest(); most > size/2 {
		t.Errorf("a request of %d bytes: the process held them all", most)
	}
	broken := io.MultiReader(strings.NewReader(content), iotest.ErrReader(errors.New("gone")))
	if _, err := s.Put(t.Context(), "ab/broken.1.0", broken); err == nil || errors.Is(err, job.ErrUnavailable) {
		t.Errorf("content that breaks off: %v, want an error that is not the store's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cut := io.MultiReader(strings.NewReader(content), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }))
	if _, err := s.Put(ctx, "ab/cut.1.0", cut); err == nil {
		t.Error("a put whose context ends on the way succeeds")
	}
	if keys := fake.Keys(); len(keys) != 1 || fake.Unfinished() > 0 {
		t.Errorf("%v and %d unfinished uploads, want the whole one alone", keys, fake.Unfinished())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestExplained: an operator reads what is wrong with his bucket.
func TestExplained(t *testing.T) {
	t.Parallel()
	closed := testenv.NewS3(t, "kaa-files")
	closed.OnlyFor("somebody else")
	for place, want := range map[string]string{
		testenv.NewS3(t, "kaa-files").Place("other"): "there is no bucket other",
		closed.URL(): "refuses these credentials",
	} {
		s := open(t, place)
		_, put := s.Put(t.Context(), "ab/a.1.0", strings.NewReader("x"))
		_, list := s.List(t.Context(), "ab/", time.Time{})
		for _, err := range []error{put, list} {
			if !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want ErrUnavailable: %s", err, want)
			}
		}
	}
}
