package cli

import (
	"context"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

const (
	// completeTime bounds the wait of a shell for a completion.
	completeTime = 2 * time.Second
	// mostCompletions bounds their number.
	mostCompletions = 100
)

// Completion is a word that a shell may complete, and its description, which may be empty.
type Completion struct{ Word, Text string }

// completions asks the Kaa for words. A shell shows no errors here, so there are none: a Kaa that does not answer has no words.
func completions(ctx context.Context, p app.Process, ask func(ctx context.Context, c *client.Client) []Completion) []Completion {
	c, err := operator(p.Environ)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	return ask(ctx, c.RetryFor(0))
}

// CompleteSessions returns the names and the ids of live sessions.
func CompleteSessions(ctx context.Context, p app.Process) []Completion {
	return completions(ctx, p, func(ctx context.Context, c *client.Client) (words []Completion) {
		all, _ := c.ListSessions(ctx, client.ListSessionsParams{Limit: new(int64(mostCompletions))}) // none after an error
		for _, s := range all.Sessions {
			if s.Name != "" {
				words = append(words, Completion{s.Name, s.State})
			}
			words = append(words, Completion{s.ID, s.State})
		}
		return words
	})
}

// CompleteJobs returns the ids of the newest jobs.
func CompleteJobs(ctx context.Context, p app.Process) []Completion {
	return completions(ctx, p, func(ctx context.Context, c *client.Client) (words []Completion) {
		all, _ := c.ListJobs(ctx, client.ListJobsParams{Limit: new(int64(mostCompletions))}) // none after an error
		for _, j := range all.Jobs {
			words = append(words, Completion{j.ID, j.State + ", " + j.Queue})
		}
		return words
	})
}

// CompleteVolumes returns the names of volumes.
func CompleteVolumes(ctx context.Context, p app.Process) []Completion {
	return completions(ctx, p, func(ctx context.Context, c *client.Client) (words []Completion) {
		all, _ := c.ListVolumes(ctx, client.ListVolumesParams{Limit: new(int64(mostCompletions))}) // none after an error
		for _, v := range all.Volumes {
			words = append(words, Completion{Word: v.Name})
		}
		return words
	})
}
