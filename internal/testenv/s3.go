package testenv

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// S3 is a store in this process with the part of Amazon S3's protocol that Kaa uses. It has one
// bucket. It checks the name of the key that signed, not the signature.
type S3 struct {
	bucket string
	server *httptest.Server

	mu      sync.Mutex
	user    string // the access key that is accepted
	objects map[string][]byte
	uploads map[string]map[int][]byte // parts of incomplete uploads
	largest int                       // bytes of the largest request
}

// S3User is the access key that the store takes.
const S3User = "kaa-test"

// NewS3 starts one, which ends with the test.
func NewS3(tb testing.TB, bucket string) *S3 {
	tb.Helper()
	s := &S3{bucket: bucket, user: S3User, objects: make(map[string][]byte), uploads: make(map[string]map[int][]byte)}
	s.server = httptest.NewServer(s)
	tb.Cleanup(s.server.Close)
	return s
}

// URL is that of the bucket.
func (s *S3) URL() string { return s.Place(s.bucket) }

// Place is the URL of any bucket of the store.
func (s *S3) Place(bucket string) string {
	return "s3://" + bucket + "?region=eu-central-1&use_path_style=true&endpoint=" + s.server.URL
}

// OnlyFor makes the store refuse all access keys but one.
func (s *S3) OnlyFor(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = user
}

// Keys are those of the objects, in order.
func (s *S3) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Unfinished counts the uploads in parts that are neither complete nor given up.
func (s *S3) Unfinished() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Largest is the size of the largest body that came with one request.
func (s *S3) Largest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.largest
}

func (s *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := s3Body(r)
	if err != nil {
		s3Error(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, len(body))
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+s.user+"/"):
		s3Error(w, http.StatusForbidden, "InvalidAccessKeyId")
	case bucket != s.bucket:
		s3Error(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.Method == http.MethodGet:
		s.list(w, r.URL.Query().Get("prefix"))
	case r.URL.Query().Has("uploads") || r.URL.Query().Has("uploadId"):
		s.upload(w, r, key, body)
	default:
		s.object(w, r, key, body)
	}
}

func (s *S3) object(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	switch r.Method {
	case http.MethodPut:
		s.objects[key] = body
		w.Header().Set("ETag", `"1"`)
	case http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		content, ok := s.objects[key]
		if !ok {
			s3Error(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(content))
	}
}

func (s *S3) upload(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	id := r.URL.Query().Get("uploadId")
	parts := s.uploads[id]
	switch {
	case r.URL.Query().Has("uploads"):
		id = "upload-" + strconv.Itoa(len(s.uploads)) + "-" + strings.ReplaceAll(key, "/", "-")
		s.uploads[id] = make(map[int][]byte)
		_, _ = fmt.Fprintf(w, `<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, id) //nolint:gosec // tests are the readers
	case parts == nil:
		s3Error(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut:
		n, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
		if err != nil {
			s3Error(w, http.StatusBadRequest, "InvalidPart")
			return
		}
		parts[n] = body
		w.Header().Set("ETag", `"1"`)
	case r.Method == http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		var whole []byte
		for _, n := range slices.Sorted(maps.Keys(parts)) {
			whole = append(whole, parts[n]...)
		}
		s.objects[key] = whole
		delete(s.uploads, id)
		_, _ = fmt.Fprintf(w, `<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key></CompleteMultipartUploadResult>`, s.bucket, key) //nolint:gosec // tests are the readers
	}
}

func (s *S3) list(w http.ResponseWriter, prefix string) {
	type content struct {
		Key          string
		LastModified time.Time
		Size         int
	}
	var answer struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []content
	}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(key, prefix) {
			answer.Contents = append(answer.Contents, content{key, time.Now().UTC(), len(s.objects[key])})
		}
	}
	_ = xml.NewEncoder(w).Encode(answer) // a client that is gone needs no list
}

// s3Body reads a body. Over plain HTTP it comes in signed chunks, each with its size in
// front.
func s3Body(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	var whole bytes.Buffer
	for in := bufio.NewReader(r.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(digits, 16, 64)
		if err != nil || size == 0 {
			return whole.Bytes(), err
		}
		if _, err := io.CopyN(&whole, in, size); err != nil {
			return nil, err
		}
		if _, err := in.Discard(len("\r\n")); err != nil {
			return nil, err
		}
	}
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<Error><Code>%s</Code><Message>The store says no.</Message></Error>`, code)
}
