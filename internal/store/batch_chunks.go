package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kaa-run/kaa/internal/job"
)

// A chunk is lines of JSON, one for each index, compressed together. A line is empty where the input
// described no job. Jobs that resemble each other take a few dozen bytes each. Code of some length is a
// field of {kaa}:batch:<id>:code, by its digest, so the same code is stored once in a batch.

const (
	// longCode is the length from which code is not in the chunk itself.
	longCode = 2 << 10
	// mostUnpacked is the largest size of a chunk. It is far above what the service puts into one.
	mostUnpacked = 64 << 20
)

// batchItem is a job of a batch that has no record yet.
type batchItem struct {
	Queue       string          `json:"q"`
	MaxAttempts int             `json:"a"`
	TimeoutMs   int64           `json:"t"`
	ResultTTLMs int64           `json:"r"`
	Metadata    json.RawMessage `json:"m,omitempty"`
	Runtime     string          `json:"n,omitempty"`
	HookURL     string          `json:"h,omitempty"`
	HookSecret  string          `json:"k,omitempty"`
	Events      bool            `json:"e,omitempty"`
	MostRunning int             `json:"p,omitempty"`
	Code        string          `json:"c,omitempty"` // digest of the code, if that is elsewhere
	Spec        job.Spec        `json:"s"`
}

// packer compresses. It is made at its first use: only an API process needs it.
type packer struct {
	once sync.Once
	in   *zstd.Encoder
	out  *zstd.Decoder
	err  error
}

func (p *packer) open() error {
	p.once.Do(func() {
		p.in, p.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if p.err == nil {
			p.out, p.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(mostUnpacked), zstd.WithDecoderLowmem(true))
		}
	})
	return p.err
}

func (p *packer) pack(text []byte) ([]byte, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	return p.in.EncodeAll(text, nil), nil
}

func (p *packer) unpack(data []byte) ([]byte, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	return p.out.DecodeAll(data, nil)
}

// PackBatch puts jobs into the form in which chunks are stored: nil for an index without a job. It
// also returns the codes that are stored beside it, by digest.
func (s *Store) PackBatch(jobs []*job.NewJob) (data []byte, codes map[string][]byte, err error) {
	const op = "pack chunk"
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, n := range jobs {
		if n == nil {
			text.WriteByte('\n')
			continue
		}
		item := batchItem{
			Queue: n.Job.Queue, MaxAttempts: n.Job.MaxAttempts, TimeoutMs: n.Job.Timeout.Milliseconds(), ResultTTLMs: n.Job.ResultTTL.Milliseconds(),
			Metadata: n.Job.Metadata, Runtime: n.Job.Runtime, HookSecret: string(n.WebhookSecret), Events: n.Events, MostRunning: n.MostRunning, Spec: n.Spec,
		}
		if n.Job.Webhook != nil {
			item.HookURL = n.Job.Webhook.URL
		}
		if code := n.Spec.Code; len(code) >= longCode {
			item.Code, item.Spec.Code = codeDigest(code), ""
			if codes[item.Code] == nil {
				packed, err := s.packer.pack([]byte(code))
				if err != nil {
					return nil, nil, fmt.Errorf("%s: %w", op, err)
				}
				if codes == nil {
					codes = make(map[string][]byte)
				}
				codes[item.Code] = packed
			}
		}
		if err := enc.Encode(&item); err != nil { // a line
			return nil, nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	if data, err = s.packer.pack(text.Bytes()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	return data, codes, nil
}

// codeDigest names a code within one batch.
func codeDigest(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:16])
}

// newJob returns the job of an item, with its id.
func (i *batchItem) newJob(id, caller string) job.NewJob {
	j := job.Job{
		ID: id, State: job.Queued, Queue: i.Queue, MaxAttempts: i.MaxAttempts, Runtime: i.Runtime, Metadata: i.Metadata, Owner: caller,
		Timeout: time.Duration(i.TimeoutMs) * time.Millisecond, ResultTTL: time.Duration(i.ResultTTLMs) * time.Millisecond,
	}
	if i.HookURL != "" {
		j.Webhook = &job.Webhook{URL: i.HookURL, State: job.WebhookPending}
	}
	return job.NewJob{Job: j, Spec: i.Spec, Caller: caller, Events: i.Events, MostRunning: i.MostRunning, WebhookSecret: job.Secret(i.HookSecret)}
}

func encodeRefusal(r job.BatchRefusal) ([]byte, error) { return json.Marshal(r) }

func decodeRefusal(text string) (r job.BatchRefusal, err error) {
	err = json.Unmarshal([]byte(text), &r)
	return r, err
}
