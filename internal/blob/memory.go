package blob

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"time"
)

// memory keeps blobs in this process, for tests.
type memory struct {
	mu    sync.Mutex
	blobs map[string]memoryBlob
}

type memoryBlob struct {
	content []byte
	written time.Time
}

func openMemory(context.Context, *url.URL) (Bucket, error) {
	return &memory{blobs: make(map[string]memoryBlob)}, nil
}

func (m *memory) Put(ctx context.Context, key string, content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[key] = memoryBlob{b, time.Now()}
	return nil
}

func (m *memory) Open(_ context.Context, key string) (io.ReadSeekCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return nopCloser{bytes.NewReader(b.content)}, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, key)
	return nil
}

func (m *memory) List(_ context.Context, prefix string, found func(string, time.Time)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, b := range m.blobs {
		if strings.HasPrefix(key, prefix) {
			found(key, b.written)
		}
	}
	return nil
}

func (m *memory) Close() error { return nil }
