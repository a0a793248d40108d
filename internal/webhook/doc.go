// Package webhook tells callers of the ends of their jobs: it takes webhooks that are
// due from the store, posts each to its URL, and reports what came of it.
//
// The app starts one Deliverer in each API process. Which process delivers a webhook
// is chance: they are taken under a lease, so that one whose process dies is due
// again. Hence each is delivered at least once, and now and then twice.
//
// What can fail is everything: the URL is a stranger's. So an attempt is bounded in
// time and in what is read, goes to public addresses only, follows no redirect, and
// uses no proxy. Receivers that cannot be reached, or answer 408, 429 or 5xx, are
// tried again, ever less often, for a day; other answers end it. A host that fails
// again and again is not tried for a while, so that its webhooks do not keep up the
// others.
package webhook
