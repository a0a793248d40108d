// Package webhook notifies callers of the ends of their jobs. It takes due webhooks from the
// store, posts each to its URL, and reports the outcome.
//
// The app starts one Deliverer in each API process. Any of them may take a webhook. It takes it
// under a lease, so a webhook whose process dies becomes due again. Therefore each is delivered
// at least once, and sometimes twice.
//
// Any step can fail, because the URL comes from a caller. So an attempt is bounded in time and
// in the bytes that it reads. It goes to public addresses only, follows no redirect, and uses no
// proxy. If a receiver cannot be reached, or answers 408, 429 or 5xx, the attempt is repeated
// for a day, with growing pauses. Other answers end it. A host that fails repeatedly is skipped
// for a while, so that its webhooks do not delay the others.
// Callers share the places for deliveries that take long.
package webhook
