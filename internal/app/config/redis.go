package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// parseRedisURL reads the address of a Redis:
//
//	redis://[user:password@]host:port/db            one server; rediss:// with TLS
//	unix:///path/to/socket?db=0                     one server on this machine
//	redis-sentinel://[user:password@]host:port,host:port/master/db   rediss-sentinel:// with TLS
//	redis-cluster://[user:password@]host:port,host:port              rediss-cluster:// with TLS
//
// Errors never show the URL, which may hold a password.
func parseRedisURL(secret Secret) (*redis.UniversalOptions, error) {
	raw := string(secret)
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("is not a URL; write redis://host:port/db")
	}
	tls := strings.HasPrefix(scheme, "rediss")
	switch scheme {
	case "redis", "rediss", "unix":
		o, err := redis.ParseURL(raw)
		if err != nil {
			return nil, errRedisURL
		}
		return &redis.UniversalOptions{
			Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		}, nil
	case "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster":
	default:
		return nil, fmt.Errorf("has scheme %q; use redis, rediss, unix, redis-sentinel, rediss-sentinel, redis-cluster or rediss-cluster", scheme)
	}

	// net/url takes one host: the first stands for all while it parses the rest.
	hosts, tail, _ := strings.Cut(rest, "/")
	user := ""
	if i := strings.LastIndex(hosts, "@"); i >= 0 {
		user, hosts = hosts[:i+1], hosts[i+1:]
	}
	addrs := strings.Split(hosts, ",")
	one := "redis"
	if tls {
		one = "rediss"
	}
	path := strings.Split(strings.TrimSuffix(tail, "/"), "/")
	sentinel := strings.HasSuffix(scheme, "-sentinel")
	db := ""
	if sentinel && len(path) > 1 {
		db = path[1]
	}
	if !sentinel && tail != "" {
		return nil, errors.New("of a cluster has no path: a cluster has no databases")
	}
	if db != "" {
		if _, err := strconv.Atoi(db); err != nil {
			return nil, fmt.Errorf("has database %q, which is not a number", db)
		}
	}
	o, err := redis.ParseURL(one + "://" + user + addrs[0] + "/" + db)
	if err != nil {
		return nil, errRedisURL
	}
	u := &redis.UniversalOptions{Addrs: addrs, Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig}
	if u.TLSConfig != nil {
		u.TLSConfig.ServerName = "" // each node's certificate is for its own name
	}
	if sentinel {
		if path[0] == "" {
			return nil, errors.New("of a sentinel needs the master's name: redis-sentinel://host:port/master")
		}
		u.MasterName = path[0]
	} else {
		u.IsClusterMode = true
	}
	return u, nil
}

// errRedisURL stands for the error of net/url, which quotes parts of the URL.
var errRedisURL = errors.New("is not a URL of that form; percent-encode special characters of the password")
