// Package workdir is the runner's view of a worker's working directory: it puts files there,
// finds those that the code has created or changed, passes them on, and removes what is left.
// The interpreter package calls it.
//
// What is in the directory belongs to hostile code, which may change it at any moment. So
// nothing here follows a link or leaves the directory, and every search is bounded.
//
// What can fail: the directory is not as it was, or has no room. Nothing outside of it is
// touched then.
package workdir
