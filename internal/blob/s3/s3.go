// Package s3 keeps blobs in a bucket of Amazon S3 or of a store with its protocol. It wraps
// minio-go as a blob.Bucket; no other package depends on that.
//
// Failures: the store cannot be reached, has no such bucket, or refuses the credentials. Errors
// name the case.
package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kaa-run/kaa/internal/blob"
)

const (
	// partSize is the size of the parts of a blob of unknown size. A transfer takes this much
	// memory.
	partSize = 8 << 20
	// smallSize is the size up to which a blob is sent with one request.
	smallSize = 256 << 10
	// tries bounds how often a request is sent; the callers bound its time.
	tries = 4
	// metadataTime bounds a request for credentials to the machine, which may not answer.
	metadataTime = 5 * time.Second
	anyRegion    = "us-east-1" // region that stores other than Amazon's accept
)

// bucket is a bucket, or the part of it that begins with a prefix.
type bucket struct {
	client    *minio.Client
	transport *http.Transport
	name      string
	prefix    string
}

// Open opens a bucket. It finds credentials, but does not check whether the bucket exists.
func Open(_ context.Context, place *url.URL) (blob.Bucket, error) {
	p, err := blob.ParseS3(place)
	if err != nil {
		return nil, err
	}
	p.Region = cmp.Or(p.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	creds := newCredentials(p)
	given, err := creds.GetWithContext(nil)
	if err != nil {
		return nil, fmt.Errorf("find credentials for the bucket %s: %w", p.Bucket, err)
	}
	if given.AccessKeyID == "" {
		return nil, fmt.Errorf("no credentials for the bucket %s: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "+
			"or give the machine a role", p.Bucket)
	}
	lookup := minio.BucketLookupAuto
	switch {
	case p.PathStyle:
		lookup = minio.BucketLookupPath
	case p.Host != "":
		lookup = minio.BucketLookupDNS
	}
	if p.Host == "" {
		p.Host = "s3.amazonaws.com" // the client replaces it by that of the region
	} else {
		p.Region = cmp.Or(p.Region, anyRegion)
	}
	transport, err := minio.DefaultTransport(!p.Insecure)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(p.Host, &minio.Options{
		Creds: creds, Secure: !p.Insecure, Region: p.Region, BucketLookup: lookup, MaxRetries: tries, Transport: transport,
	})
	if err != nil {
		return nil, fmt.Errorf("make a client for the bucket %s: %w", p.Bucket, err)
	}
	return &bucket{client: client, transport: transport, name: p.Bucket, prefix: p.Prefix}, nil
}

// newCredentials searches in the same places as AWS's own tools: the environment, the files of
// the user, the role of the container or machine.
func newCredentials(p blob.S3) *credentials.Credentials {
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.FileAWSCredentials{Profile: p.Profile},
		&credentials.IAM{Region: p.Region, Client: &http.Client{Timeout: metadataTime}},
	})
}

func (b *bucket) Put(ctx context.Context, key string, content io.Reader) error {
	// The type is in the record. A type given here saves minio-go from guessing one.
	options := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 1}
	// Most blobs are small. A blob of known size is one request, and needs no buffer of a part.
	head, err := io.ReadAll(io.LimitReader(content, smallSize))
	if err != nil {
		return err
	}
	size := int64(-1)
	if len(head) < smallSize {
		size = int64(len(head))
	}
	_, err = b.client.PutObject(ctx, b.name, b.prefix+key, io.MultiReader(bytes.NewReader(head), content), size, options)
	return b.explained(err)
}

func (b *bucket) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	object, err := b.client.GetObject(ctx, b.name, b.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.explained(err)
	}
	if _, err := object.Stat(); err != nil {
		return nil, errors.Join(b.explained(err), object.Close())
	}
	return object, nil
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	err := b.explained(b.client.RemoveObject(ctx, b.name, b.prefix+key, minio.RemoveObjectOptions{}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (b *bucket) List(ctx context.Context, prefix string, found func(string, time.Time)) error {
	options := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
	for object := range b.client.ListObjectsIter(ctx, b.name, options) {
		if object.Err != nil {
			return b.explained(object.Err)
		}
		found(object.Key[len(b.prefix):], object.LastModified)
	}
	return ctx.Err()
}

func (b *bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// explained adds a remedy for the operator to an answer of the store.
func (b *bucket) explained(err error) error {
	if err == nil {
		return nil
	}
	switch minio.ToErrorResponse(err).Code {
	case minio.NoSuchKey:
		return fs.ErrNotExist
	case minio.NoSuchBucket:
		return fmt.Errorf("there is no bucket %s at this endpoint and region: %w", b.name, err)
	case minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken":
		return fmt.Errorf("the store refuses these credentials for the bucket %s: %w", b.name, err)
	}
	return err
}
