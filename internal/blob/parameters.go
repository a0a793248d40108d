package blob

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// S3 is what the URL of a bucket says:
//
//	s3://bucket?region=…&endpoint=https://host:port&use_path_style=true&prefix=kaa/&profile=…
type S3 struct {
	Bucket    string
	Region    string
	Host      string // of the endpoint, with its port; empty for Amazon's
	Insecure  bool   // the endpoint speaks plain HTTP
	PathStyle bool   // the bucket is part of the path, not of the host's name
	Prefix    string // of all keys
	Profile   string // of the file of credentials
}

// s3Parameters are the names that the query of a bucket's URL may have.
func s3Parameters() []string {
	return []string{"endpoint", "prefix", "profile", "region", "use_path_style"}
}

// ParseS3 reads the URL of a bucket. Errors do not show it, as it may hold a secret.
func ParseS3(place *url.URL) (S3, error) {
	if place.Path != "" && place.Path != "/" || place.User != nil {
		return S3{}, errors.New("of a bucket is s3://bucket?region=…, without a path; &prefix=… goes in front of all keys")
	}
	q, err := url.ParseQuery(place.RawQuery)
	if err != nil {
		return S3{}, errors.New("has a query that cannot be read")
	}
	for name := range q {
		if !slices.Contains(s3Parameters(), name) {
			return S3{}, fmt.Errorf("has the unknown parameter %q; there are %s", name, strings.Join(s3Parameters(), ", "))
		}
	}
	s := S3{Bucket: place.Host, Region: q.Get("region"), Prefix: q.Get("prefix"), Profile: q.Get("profile")}
	if style := q.Get("use_path_style"); style != "" {
		if s.PathStyle, err = strconv.ParseBool(style); err != nil {
			return S3{}, errors.New("has a use_path_style that is neither true nor false")
		}
	}
	if endpoint := q.Get("endpoint"); endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" {
			return S3{}, errors.New("has an endpoint that is not https://host or http://host")
		}
		s.Host, s.Insecure = u.Host, u.Scheme == "http"
	}
	return s, nil
}
