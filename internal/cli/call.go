package cli

import (
	"context"
	"errors"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// operator returns a client of the Kaa at KAA_URL.
func operator(environ app.Environment) (*client.Client, error) {
	if environ.Get("KAA_URL") == "" {
		return nil, errors.New("KAA_URL is not set: set it to the address of a Kaa, such as http://127.0.0.1:8080, and KAA_API_KEY to a key of it; kaa login keeps both")
	}
	return client.New(environ.Get("KAA_URL"), environ.Get("KAA_API_KEY")), nil
}

// pages collects the entries of all pages of a list, up to most of them if that is above 0.
func pages[T any](ctx context.Context, most int, page func(ctx context.Context, cursor string) (entries []T, next string, err error)) ([]T, error) {
	var all []T
	for cursor := ""; ; {
		entries, next, err := page(ctx, cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
		if most > 0 && len(all) >= most {
			return all[:most], nil
		}
		if cursor = next; cursor == "" {
			return all, nil
		}
	}
}
