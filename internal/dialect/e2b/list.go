package e2b

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// usualPage and mostPage are numbers of sandboxes in one answer.
	usualPage = 100
	mostPage  = 100
	// mostListed is how many sandboxes of a caller are looked at.
	mostListed = 2000
)

// listing is the query of a list of sandboxes.
type listing struct {
	metadata []job.MetadataMatch
	states   []string
	template string
	after    time.Time
	oldest   bool // the oldest first
	limit    int
	token    string // the key of the last one of the page before
}

func listingOf(q url.Values) (listing, error) {
	l := listing{template: q.Get("template"), oldest: q.Get("order") == "asc", limit: usualPage}
	bad := func(name string) error {
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "the query has a wrong %s", name)
	}
	if text := q.Get("metadata"); text != "" {
		values, err := url.ParseQuery(text)
		if err != nil {
			return l, bad("metadata")
		}
		for name := range values {
			l.metadata = append(l.metadata, job.MetadataMatch{Name: name, Value: values.Get(name)})
		}
	}
	for _, text := range q["state"] {
		l.states = append(l.states, strings.Split(text, ",")...)
	}
	if text := q.Get("startedAfter"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return l, bad("startedAfter")
		}
		l.after = at
	}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return l, bad("limit")
		}
		l.limit = min(n, mostPage)
	}
	if text := q.Get("nextToken"); text != "" {
		token, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return l, bad("nextToken")
		}
		l.token = string(token)
	}
	return l, nil
}

// fits reports whether a session is a sandbox of the list.
func (l listing) fits(se job.Session) bool {
	if _, made := membersOf(se)[detailsName]; !made || isSnapshot(se) || se.AtEnd == nil && isOver(se) {
		return false // another protocol's, or no sandbox any more
	}
	return (len(l.states) == 0 || slices.Contains(l.states, stateOf(se))) &&
		(l.template == "" || l.template == detailsOf(se).Template) && !se.CreatedAt.Before(l.after)
}

// key orders sandboxes by their creation.
func key(se job.Session) string { return strconv.FormatInt(se.CreatedAt.UnixMilli(), 10) + "." + se.ID }

// page cuts the page out of the sandboxes that fit.
func (l listing) page(all []job.Session) (page []job.Session, next string) {
	slices.SortFunc(all, func(a, b job.Session) int {
		if l.oldest {
			return cmp.Compare(key(a), key(b))
		}
		return cmp.Compare(key(b), key(a))
	})
	if l.token != "" {
		all = slices.DeleteFunc(all, func(se job.Session) bool {
			return l.oldest && key(se) <= l.token || !l.oldest && key(se) >= l.token
		})
	}
	if len(all) > l.limit {
		return all[:l.limit], base64.RawURLEncoding.EncodeToString([]byte(key(all[l.limit-1])))
	}
	return all, ""
}

// sessions returns the sessions of a caller that a filter selects and that fit.
func (d *Dialect) sessions(ctx context.Context, c service.Caller, filter job.SessionFilter, fits func(job.Session) bool) (all []job.Session, err error) {
	for len(all) < mostListed {
		some, next, err := d.service.Sessions(ctx, c, filter)
		if err != nil {
			return nil, err
		}
		for _, se := range some {
			if fits(se) {
				all = append(all, se)
			}
		}
		if filter.Cursor = next; next == "" {
			break
		}
	}
	return all, nil
}

func (d *Dialect) list(w http.ResponseWriter, r *http.Request) error {
	l, err := listingOf(r.URL.Query())
	if err != nil {
		return err
	}
	all, err := d.sessions(r.Context(), service.CallerOf(r.Context()), job.SessionFilter{Metadata: l.metadata, Limit: usualPage}, l.fits)
	if err != nil {
		return err
	}
	page, next := l.page(all)
	answer := make([]detail, len(page))
	for i, se := range page {
		answer[i] = d.detailOf(se)
	}
	if next != "" {
		w.Header().Set("X-Next-Token", next)
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}
